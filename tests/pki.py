"""Make keys and certificates to test with: ``python -m tests.pki DIR``.

Everybody in them is invented. SM2 is made by the openssl program, which must know it; the rest by cryptography.

    NAME.key, NAME.crt   PEM; NAME is ca, rsa, p256, sm2-ca, sm2, and
                         expired       P-256, no longer valid
                         foreign       P-256, another party's
                         p384          P-384, which no profile uses
                         sm2-foreign   SM2, another party's
    rsa.p12              key and certificate of rsa, under what rsa.password says
    chains/              authorities with revocation lists: see tests.chains
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

PASSWORD = "not-a-secret"
ENTERPRISE = "示例跨境电商有限公司"
OTHER = "虚构物流有限公司"
AUTHORITY = "Test CA of nobody"

_DAYS = 3650
_NOW = (-1, _DAYS)
_SM2_ID = "distid:1234567812345678"

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def make(folder: Path) -> Path:
    """Make everything in *folder*, which is created; what lies there under these names is replaced."""
    make_plain(folder)
    make_sm2(folder)
    return folder


def make_plain(folder: Path) -> None:
    """Make all that needs no SM2."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = p256()
    _write(folder, "ca", authority, _certificate(AUTHORITY, 1, authority, authority, _NOW))
    for name, serial, subject, key, days in (
        ("rsa", 0x01691FE9, ENTERPRISE, rsa.generate_private_key(65537, 2048), _NOW),
        ("p256", 0x03000000000CDE6F, ENTERPRISE, p256(), _NOW),
        ("expired", 0x0400000000000001, ENTERPRISE, p256(), (-20, -10)),
        ("foreign", 0x0500000000000001, OTHER, p256(), _NOW),
        ("p384", 0x0600000000000001, OTHER, ec.generate_private_key(ec.SECP384R1()), _NOW),
    ):
        _write(folder, name, key, _certificate(subject, serial, key, authority, days))


def make_sm2(folder: Path) -> None:
    """Make the SM2 authority, and the SM2 keys and certificates that it issues."""
    folder.mkdir(parents=True, exist_ok=True)
    _openssl(folder, "ecparam -name SM2 -genkey -noout -out sm2-ca.key")
    _openssl(folder, f"req -new -x509 -sm3 -sigopt {_SM2_ID} -days {_DAYS} -key sm2-ca.key -out sm2-ca.crt", AUTHORITY)
    for name, serial, subject in (
        ("sm2", "0x03000000000cde70", ENTERPRISE),
        ("sm2-foreign", "0x0500000000000002", OTHER),
    ):
        _openssl(folder, f"ecparam -name SM2 -genkey -noout -out {name}.key")
        _openssl(folder, f"req -new -sm3 -sigopt {_SM2_ID} -key {name}.key -out {name}.csr", subject)
        _openssl(
            folder,
            f"x509 -req -in {name}.csr -sm3 -sigopt {_SM2_ID} -vfyopt {_SM2_ID} -days {_DAYS}"
            f" -CA sm2-ca.crt -CAkey sm2-ca.key -set_serial {serial} -out {name}.crt",
        )
        (folder / f"{name}.csr").unlink()


@functools.cache
def shared() -> Path:
    """Return a folder with all of it, made once a run; for reading only."""
    folder = Path(tempfile.mkdtemp(prefix="pki-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make(folder)


def der(name: str) -> bytes:
    """Return the DER of the shared certificate *name*."""
    return x509.load_pem_x509_certificate((shared() / f"{name}.crt").read_bytes()).public_bytes(Encoding.DER)


def p256() -> ec.EllipticCurvePrivateKey:
    """Make a P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def _certificate(
    subject: str, serial: int, key: Key, authority: ec.EllipticCurvePrivateKey, days: tuple[int, int]
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        subject_name=_name(subject),
        issuer_name=_name(AUTHORITY),
        public_key=key.public_key(),
        serial_number=serial,
        not_valid_before=now + timedelta(days=days[0]),
        not_valid_after=now + timedelta(days=days[1]),
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=key is authority, path_length=None), critical=True)
    return builder.sign(authority, SHA256())


def _name(common: str) -> x509.Name:
    country = x509.NameAttribute(NameOID.COUNTRY_NAME, "CN")
    return x509.Name([country, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _write(folder: Path, name: str, key: Key, certificate: x509.Certificate) -> None:
    secret = folder / f"{name}.key"
    secret.touch(0o600)
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    if name == "rsa":
        sealed = BestAvailableEncryption(PASSWORD.encode())
        p12 = pkcs12.serialize_key_and_certificates(name.encode(), key, certificate, None, sealed)
        (folder / f"{name}.p12").write_bytes(p12)
        (folder / f"{name}.password").write_text(PASSWORD)


def _openssl(folder: Path, arguments: str, subject: str = "") -> None:
    named = ["-utf8", "-subj", f"/C=CN/CN={subject}"] if subject else []
    subprocess.run(["openssl", *arguments.split(), *named], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    from tests import chains

    chains.make(make(Path(sys.argv[1])) / "chains")
    for made in sorted(Path(sys.argv[1]).rglob("*.*")):
        print(made)
