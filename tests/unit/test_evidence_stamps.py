"""Time stamps: asked of a real authority (openssl ts) behind a small HTTP server, and checked without it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from exchange.errors import Transient
from exchange.evidence import form
from exchange.evidence.stamps import Authority
from exchange.signing.certificates import from_file
from tests import pki
from tests.evidence import checked, entries, export, failures, forged, kept, outcomes, packed, unsigned
from tests.sealing import require

CONFIGURATION = """
[tsa]
serial = {folder}/serial
signer_cert = {folder}/tsa.crt
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
ess_cert_id_alg = sha256
crypto_device = builtin
[ext]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
"""


def make_authority(folder: Path) -> None:
    """Make the keys and certificates of a time stamping authority."""
    (folder / "ts.cnf").write_text(CONFIGURATION.format(folder=folder) + "[req]\ndistinguished_name = dn\n[dn]\n")
    (folder / "serial").write_text("01\n")
    new = "req -new -newkey rsa:2048 -nodes -config ts.cnf"
    for command in (
        f"{new} -x509 -days 30 -extensions ca -keyout tsa-ca.key -out tsa-ca.crt -subj /CN=Stamps-of-nobody",
        f"{new} -keyout tsa.key -out tsa.csr -subj /CN=Stamper",
        "x509 -req -in tsa.csr -CA tsa-ca.crt -CAkey tsa-ca.key -set_serial 7 -days 30 -extfile ts.cnf"
        " -extensions ext -out tsa.crt",
    ):
        subprocess.run([require("openssl"), *command.split()], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority."""
    made = tmp_path_factory.mktemp("tsa")
    make_authority(made)
    return made


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """The address of an authority that answers; under /old always with its first answer, under /broken with none."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = folder / "query.tsq"
            query.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/old":
                command = "ts -reply -config ts.cnf -section tsa -queryfile query.tsq -out answer.tsr"
                subprocess.run([require("openssl"), *command.split()], cwd=folder, check=True, capture_output=True)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"busy" if self.path == "/broken" else (folder / "answer.tsr").read_bytes())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_stamped_manifest_stands_and_its_time_and_authority_are_told(folder: Path, url: str, tmp_path: Path) -> None:
    roots = from_file((folder / "tsa-ca.crt").read_bytes())
    file = export(kept().home, kept().id, unsigned, Authority(url, roots))
    assert list(entries(file))[-1] == form.STAMP
    (one,) = [one for one in checked(file, tmp_path) if one.name == "timestamp"]
    assert one.outcome == "not present", "nobody vouches for it"
    assert "says CN=Stamper" in one.en
    trusted = checked(file, tmp_path, trust=[*roots, pki.der("ca")])
    assert failures(trusted) == []
    assert outcomes(trusted)["timestamp"] == {"passed"}
    assert failures(checked(file, tmp_path, trust=[pki.der("ca")])) == [("timestamp", form.STAMP)]


def test_openssl_verifies_the_stamp_as_it_stands_in_the_file(folder: Path, url: str, tmp_path: Path) -> None:
    all = entries(export(kept().home, kept().id, unsigned, Authority(url)))
    for name in (form.MANIFEST, form.STAMP):
        (tmp_path / name).write_bytes(all[name])
    command = f"ts -verify -data {form.MANIFEST} -in {form.STAMP} -CAfile {folder}/tsa-ca.crt"
    done = subprocess.run([require("openssl"), *command.split()], cwd=tmp_path, check=True, capture_output=True)
    assert b"Verification: OK" in done.stdout + done.stderr


def test_a_stamp_of_another_manifest_a_changed_one_and_none_are_found(folder: Path, url: str, tmp_path: Path) -> None:
    all = entries(export(kept().home, kept().id, unsigned, Authority(url)))
    other = Authority(url)(b"another manifest")
    changed = all[form.STAMP][:-1] + bytes([all[form.STAMP][-1] ^ 1])
    trust = [*from_file((folder / "tsa-ca.crt").read_bytes()), pki.der("ca")]
    for stamp in (other, changed, b"", b"\x30\x03\x02\x01\x00"):
        checks = checked(packed({**all, form.STAMP: stamp}), tmp_path, trust=trust)
        assert failures(checks) == [("timestamp", form.STAMP)]
    assert failures(checked(packed({**all, form.STAMP: other}), tmp_path)) == [("timestamp", form.STAMP)]
    rewritten = entries(forged(packed(all)))
    assert failures(checked(packed({**rewritten, form.STAMP: all[form.STAMP]}), tmp_path)) == [("entries", form.STAMP)]
    missing = {name: body for name, body in all.items() if name != form.STAMP}
    assert failures(checked(packed(missing), tmp_path)) == [("entries", form.STAMP)]


@pytest.mark.parametrize("path", ["/old", "/broken"])
def test_an_answer_to_another_question_is_no_stamp(path: str, url: str) -> None:
    export(kept().home, kept().id, unsigned, Authority(url))
    with pytest.raises(Transient) as refused:
        export(kept().home, kept().id, unsigned, Authority(url + path))
    assert refused.value.code == "SWX-7079"
    assert "--timestamp none" in refused.value.zh


def test_a_stamp_by_somebody_whom_the_site_does_not_trust_is_refused_at_once(url: str) -> None:
    with pytest.raises(Transient):
        Authority(url, [pki.der("ca")])(b"manifest")


def test_an_authority_that_is_down_is_told_with_what_to_do() -> None:
    with pytest.raises(Transient) as refused:
        Authority("http://127.0.0.1:9/")(b"manifest")
    assert refused.value.code == "SWX-7079"
