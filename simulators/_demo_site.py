"""The folder that the demonstration lives in: keys, certificates, configuration. Everything is made on the spot."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import shutil
import socket
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from exchange.errors import ExchangeError
from exchange.tokens import sm2
from exchange.yamlfile import read

ROOT: Final = Path(__file__).resolve().parent.parent
HOST: Final = "127.0.0.1"
SOCKET_BYTES: Final = 100  # of the path of a Unix socket; the system's limit is 107
PROTOCOLS: Final = {"sftp_server": "SFTP", "http_api": "HTTPS", "folder": "folder"}
SHOP_KEY: Final = "demo-shop"  # signs with RSA ...
AGENT_KEY: Final = "demo-agent"  # ... and this one with SM2, as routes.yaml says
SM2_ID: Final = "distid:1234567812345678"

SETTINGS: Final = """\
# Written by the demonstration; every setting that isn't here has its default. · 由演示程序生成，未列出的均为默认值
routes: routes.yaml
control: switchctl.sock
spool: spool
store: {{folder: store, reserve_bytes: 16777216}}
token: {{kind: software, allow_software_keys: true, options: {{folder: keys}}}}
signing: {{dual_control: false}}
monitor: {{host: {host}, port: {metrics}}}
adapters:
  sftp_server: {{host: {host}, port: {sftp}, host_keys: [keys/ssh_host_ed25519_key]}}
  http_api: {{host: {host}, port: {https}, certificate: keys/https.crt, key: keys/https.key}}
"""

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@frozen
class Door:
    """One endpoint that messages come in at."""

    endpoint: str
    party: str
    protocol: str  # SFTP | HTTPS | folder
    dxp_id: str = ""
    user: str = ""
    key: str = ""


@frozen
class Site:
    """Where everything of one demonstration is."""

    folder: Path
    doors: Mapping[str, Door]  # by endpoint
    ports: Mapping[str, int]  # sftp, https, metrics
    signers: tuple[str, ...]  # names of signing keys

    @property
    def control(self) -> Path:
        """The socket for switchctl."""
        return self.folder / "switchctl.sock"

    @property
    def key(self) -> Path:
        """The private key that every SFTP user here logs in with."""
        return self.folder / "keys" / "sftp_ed25519"

    def certificate(self, name: str) -> Path:
        """Return the file of a certificate."""
        return self.folder / "keys" / f"{name}.crt"


def prepare(folder: Path) -> Site:
    """Fill an empty folder. Raises ValueError where it isn't empty, or its path is too long."""
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    if any(folder.iterdir()):
        raise ValueError(f"{folder} isn't empty: name a new folder · 目录非空，请另选")
    if len(str(folder / "switchctl.sock").encode()) > SOCKET_BYTES:
        raise ValueError(f"{folder} is too long a path for a socket: name a shorter one · 路径过长，请另选")
    (folder / "keys").mkdir(mode=0o700)
    (folder / "schemas").symlink_to(ROOT / "schemas")  # where the tests in routes.yaml look for their samples
    public = _ssh_key(folder / "keys" / "sftp_ed25519")
    doors = _routes(folder, public)
    ports = dict(zip(("sftp", "https", "metrics"), _free_ports(3), strict=True))
    _known_host(folder, ports["sftp"])
    signers = _certificates(folder / "keys")
    settings = SETTINGS.format(host=HOST, **ports)
    (folder / "switchd.yaml").write_text(settings, "utf-8")
    return Site(folder, doors, ports, signers)


# -- routes ------------------------------------------------------------------------------------------------------


def _routes(folder: Path, public: str) -> dict[str, Door]:
    """Copy the routing table with fresh keys in place of those that open nothing; return its enterprises' doors."""
    text = (ROOT / "routes.yaml").read_text("utf-8")
    doors: dict[str, Door] = {}
    for party in read(text, "routes.yaml").data["parties"]:
        for endpoint in party["endpoints"]:
            key = "swx_" + secrets.token_urlsafe(32)
            hashed = "sha256:" + hashlib.sha256(key.encode()).hexdigest()
            for known in endpoint.get("keys", ()):
                text = text.replace(known, hashed if endpoint["kind"] == "http_api" else public)
            doors[endpoint["name"]] = _door(party, endpoint, key)
    (folder / "routes.yaml").write_text(text, "utf-8")
    return doors


def _door(party: Mapping[str, Any], endpoint: Mapping[str, Any], key: str) -> Door:
    protocol = PROTOCOLS[endpoint["kind"]]
    dxp_id = next(iter(party.get("ids", ())), "")
    return Door(endpoint["name"], party["code"], protocol, dxp_id, endpoint.get("user", ""), key)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


# -- keys --------------------------------------------------------------------------------------------------------


def _ssh_key(path: Path) -> str:
    """Make an Ed25519 key in OpenSSH's form; return the line that authorizes it."""
    key = Ed25519PrivateKey.generate()
    _secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _known_host(folder: Path, port: int) -> None:
    line = _ssh_key(folder / "keys" / "ssh_host_ed25519_key")
    (folder / "known_hosts").write_text(f"[{HOST}]:{port} {line}\n")


def _certificates(folder: Path) -> tuple[str, ...]:
    """Make an authority, the server's certificate and the signing keys; return the names of the latter."""
    authority = ec.generate_private_key(ec.SECP256R1())
    _issue(folder, "ca", authority, authority)
    _issue(folder, "https", ec.generate_private_key(ec.SECP256R1()), authority)
    _issue(folder, SHOP_KEY, rsa.generate_private_key(65537, 2048), authority)
    return (SHOP_KEY, AGENT_KEY) if _sm2(folder, AGENT_KEY) else (SHOP_KEY,)


def _issue(folder: Path, name: str, key: PrivateKey, authority: ec.EllipticCurvePrivateKey) -> None:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        subject_name=_name(name),
        issuer_name=_name("ca"),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(days=1),
        not_valid_after=now + timedelta(days=30),
    )
    issuer = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    for extension, critical in (
        (x509.BasicConstraints(ca=key is authority, path_length=None), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), False),
        (x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST)), x509.DNSName("localhost")]), False),
        (_usage(key is authority), True),
    ):
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(authority, SHA256())
    _secret(folder / f"{name}.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority, content_commitment=not authority, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=authority, crl_sign=authority,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"demonstration {common}")])


def _sm2(folder: Path, name: str) -> bool:
    """Make an SM2 key and its certificate with the openssl program; tell whether this system can."""
    if shutil.which("openssl") is None:
        return False
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    _secret(key, b"")
    generate = ["ecparam", "-name", "SM2", "-genkey", "-noout", "-out", str(key)]
    issue = ["req", "-new", "-x509", "-sm3", "-sigopt", SM2_ID, "-days", "30", "-subj", f"/CN=demonstration {name}"]
    try:
        for command in (generate, [*issue, "-key", str(key), "-out", str(certificate)]):
            subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=20)
        sm2.PrivateKey.from_pem(key.read_bytes(), b"").sign(b"")
    except (subprocess.SubprocessError, ExchangeError, OSError, ValueError):
        return False
    return True


def _secret(path: Path, body: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(body)
