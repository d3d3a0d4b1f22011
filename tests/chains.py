"""Authorities to test with, RSA, P-256 and SM2 alike: ``python -m tests.pki DIR`` makes them, too.

In a folder of each world's name (rsa, p256, sm2), everybody invented:

    root.crt, middle.crt      the authority, and the one below it that issues
    trust.pem                 both
    leaf, revoked             .key and .crt of a signer that stands, and of one that is revoked
    first.crl, second.crl     lists of middle: number 1 revokes nobody, number 2 the one that is revoked
    root.crl                  list of root, revokes nobody
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

WORLDS = ("rsa", "p256", "sm2")
SIGNER = "示例跨境电商有限公司"
REVOKED_SERIAL = 0x0700000000000002
DAYS = 40
_SM2_ID = "distid:1234567812345678"


def make(folder: Path) -> Path:
    """Make the authorities of all three worlds."""
    for world in WORLDS:
        (folder / world).mkdir(parents=True, exist_ok=True)
        _make_sm2(folder / world) if world == "sm2" else _make(folder / world, world)
        roots = [(folder / world / f"{name}.crt").read_bytes() for name in ("root", "middle")]
        (folder / world / "trust.pem").write_bytes(b"".join(roots))
    return folder


@functools.cache
def shared() -> Path:
    """Return a folder with all of it, made once a run; for reading only."""
    folder = Path(tempfile.mkdtemp(prefix="chains-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make(folder)


def der(world: str, name: str) -> bytes:
    """Return the DER of a shared certificate."""
    pem = (shared() / world / f"{name}.crt").read_bytes()
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def crl(world: str, name: str) -> bytes:
    """Return the DER of a shared revocation list."""
    return x509.load_pem_x509_crl((shared() / world / f"{name}.crl").read_bytes()).public_bytes(Encoding.DER)


# -- by cryptography ---------------------------------------------------------------------------------------------


@frozen
class Issued:
    """A certificate with its key."""

    key: Any
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    def write(self, folder: Path, name: str) -> None:
        """Write ``NAME.key`` and ``NAME.crt``."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.key").write_bytes(key)
        (folder / f"{name}.crt").write_bytes(self.certificate.public_bytes(Encoding.PEM))


def usage(*uses: str) -> x509.KeyUsage:
    """Return a keyUsage of just these."""
    every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{use: use in uses for use in every})


AUTHORITY_USES = usage("key_cert_sign", "crl_sign")
SIGNER_USES = usage("digital_signature", "content_commitment")


def name(common: str) -> x509.Name:
    """Return a subject."""
    country = x509.NameAttribute(NameOID.COUNTRY_NAME, "CN")
    return x509.Name([country, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def issue(
    subject: str,
    issuer: Issued | None = None,
    *,
    key: Any = None,
    authority: bool = False,
    below: int | None = None,
    serial: int = 0,
    days: tuple[float, float] = (-1, DAYS),
    uses: x509.KeyUsage | None = None,
    more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    without: Sequence[type[x509.ExtensionType]] = (),
) -> Issued:
    """Issue a certificate; without *issuer*, one that vouches for itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    above, by = (issuer.key, issuer.certificate.subject) if issuer else (key, name(subject))
    builder = x509.CertificateBuilder(
        issuer_name=by,
        subject_name=name(subject),
        public_key=key.public_key(),
        serial_number=serial or x509.random_serial_number(),
        not_valid_before=datetime.now(UTC) + timedelta(days=days[0]),
        not_valid_after=datetime.now(UTC) + timedelta(days=days[1]),
    )
    usual: tuple[tuple[x509.ExtensionType, bool], ...] = (
        (x509.BasicConstraints(authority, below), True),
        (uses or (AUTHORITY_USES if authority else SIGNER_USES), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), False),
    )
    for extension, critical in (*usual, *more):
        if type(extension) not in without:
            builder = builder.add_extension(extension, critical)
    return Issued(key, builder.sign(above, SHA256()))


def revoke(
    issuer: Issued,
    *serials: int,
    number: int | None = 1,
    days: tuple[float, float] = (-0.5, 30),
    more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    since_days: float = -0.5,
) -> bytes:
    """Return the DER of a revocation list."""
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(
        issuer.certificate.subject, now + timedelta(days=days[0]), now + timedelta(days=days[1])
    )
    for serial in serials:
        since = now + timedelta(days=since_days)
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, since).build())
    numbered = () if number is None else ((x509.CRLNumber(number), False),)
    identified = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    for extension, critical in (*numbered, (identified, False), *more):
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer.key, SHA256()).public_bytes(Encoding.DER)


def _make(folder: Path, world: str) -> None:
    def key() -> Any:
        return rsa.generate_private_key(65537, 2048) if world == "rsa" else ec.generate_private_key(ec.SECP256R1())

    root = issue(f"Test root of nobody ({world})", key=key(), authority=True)
    middle = issue(f"Test authority of nobody ({world})", root, key=key(), authority=True, below=0)
    root.write(folder, "root")
    middle.write(folder, "middle")
    issue(SIGNER, middle, key=key()).write(folder, "leaf")
    issue(SIGNER, middle, key=key(), serial=REVOKED_SERIAL).write(folder, "revoked")
    for file, list in (
        ("first", revoke(middle, days=(-0.6, 30))),
        ("second", revoke(middle, REVOKED_SERIAL, number=2)),
        ("root", revoke(root)),
    ):
        pem = x509.load_der_x509_crl(list).public_bytes(Encoding.PEM)
        (folder / f"{file}.crl").write_bytes(pem)


# -- by the openssl program --------------------------------------------------------------------------------------

_AUTHORITY = "basicConstraints=critical,CA:TRUE{}\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
_LEAF = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,nonRepudiation\n"
_IDENTIFIED = "authorityKeyIdentifier=keyid:always\n"
_LISTS = """[ca]
default_ca=lists
[lists]
database=index.txt
crlnumber=number
default_md=sm3
default_crl_days=30
crl_extensions=of_lists
[of_lists]
authorityKeyIdentifier=keyid:always
"""


def _make_sm2(folder: Path) -> None:
    (folder / "lists.conf").write_text(_LISTS)
    _issue_sm2(folder, "root", "Test root of nobody (sm2)", "", _AUTHORITY.format(""), 1)
    _issue_sm2(folder, "middle", "Test authority of nobody (sm2)", "root", _AUTHORITY.format(",pathlen:0"), 2)
    _issue_sm2(folder, "leaf", SIGNER, "middle", _LEAF, 0x0700000000000001)
    _issue_sm2(folder, "revoked", SIGNER, "middle", _LEAF, REVOKED_SERIAL)
    now = datetime.now(UTC)
    yesterday, later = (f"{now + timedelta(days=n):%y%m%d%H%M%SZ}" for n in (-0.5, DAYS))
    entry = f"R\t{later}\t{yesterday}\t{REVOKED_SERIAL:016X}\tunknown\t/C=CN/CN=x\n"
    for file, issuer, number, index in (
        ("root", "root", 1, ""),
        ("first", "middle", 1, ""),
        ("second", "middle", 2, entry),
    ):
        (folder / "index.txt").write_text(index)
        (folder / "number").write_text(f"{number:02X}\n")
        _openssl(folder, f"ca -config lists.conf -gencrl -cert {issuer}.crt -keyfile {issuer}.key -md sm3"
                         f" -sigopt {_SM2_ID} -out {file}.crl")  # fmt: skip
    for scrap in ("lists.conf", "index.txt", "index.txt.attr", "number", "number.old", "request", "extensions"):
        (folder / scrap).unlink(missing_ok=True)


def _issue_sm2(folder: Path, file: str, subject: str, issuer: str, extensions: str, serial: int) -> None:
    (folder / "extensions").write_text(extensions + (_IDENTIFIED if issuer else ""))
    _openssl(folder, f"ecparam -name SM2 -genkey -noout -out {file}.key")
    _openssl(folder, f"req -new -sm3 -sigopt {_SM2_ID} -key {file}.key -out request -utf8 -subj", f"/C=CN/CN={subject}")
    by = f"-CA {issuer}.crt -CAkey {issuer}.key" if issuer else f"-signkey {file}.key"
    _openssl(folder, f"x509 -req -in request -sm3 -sigopt {_SM2_ID} -vfyopt {_SM2_ID} -days {DAYS} -extfile extensions"
                     f" {by} -set_serial {serial} -out {file}.crt")  # fmt: skip


def _openssl(folder: Path, arguments: str, *more: str) -> None:
    subprocess.run(["openssl", *arguments.split(), *more], cwd=folder, check=True, capture_output=True)
