"""Certification requests (PKCS#10, RFC 2986) for keys that never leave their device: it signs, we write the rest."""

from __future__ import annotations

from base64 import encodebytes
from typing import Final

from cryptography.x509 import Name

from exchange.errors import ConfigurationError, Refused
from exchange.register import Holder
from exchange.signing import certificates
from exchange.tokens import sm2

ALGORITHMS: Final = {  # kind of key -> what a token is asked for, and its AlgorithmIdentifier
    "rsa": ("rsa-sha256", bytes.fromhex("300d06092a864886f70d01010b0500")),
    "p256": ("ecdsa-sha256", bytes.fromhex("300a06082a8648ce3d040302")),
    "sm2": ("sm2-sm3", bytes.fromhex("300a06082a811ccf55018375")),  # GM/T 0006: 1.2.156.10197.1.501
}
_SEQUENCE, _BIT_STRING, _VERSION, _NO_ATTRIBUTES = 0x30, 0x03, b"\x02\x01\x00", b"\xa0\x00"


async def request(holder: Holder, device: str, location: str, subject: str) -> str:
    """Return a request in PEM for the key at a place; *subject* is written ``CN=...,O=...,C=CN`` (RFC 4514).

    Raises ConfigurationError where the subject can't be read; NotFound, Refused, TokenError.
    """
    try:
        name = Name.from_rfc4514_string(subject).public_bytes()
    except ValueError as why:
        raise ConfigurationError([f"{subject!r} is no subject such as CN=...,O=...,C=CN: {why}"]) from why
    info = await holder.public_key(device, location)
    key = certificates.public_key(info)
    algorithm, identifier = ALGORITHMS[certificates.kind(key)]
    asked = der(_SEQUENCE, _VERSION + name + info + _NO_ATTRIBUTES)
    value = await holder.sign_at(device, location, algorithm, asked)
    if not certificates.stands(key, algorithm, value, asked):
        raise Refused(f"{device}: the signature of {location} doesn't verify", f"{device}：{location} 的签名未通过验证")
    signature = value if algorithm.startswith("rsa") else sm2.der_signature(value)
    return _pem(der(_SEQUENCE, asked + identifier + der(_BIT_STRING, b"\x00" + signature)))


def der(tag: int, content: bytes) -> bytes:
    """Write one DER value.

    >>> der(0x04, b"ab").hex(), der(0x04, bytes(200))[:3].hex()
    ('04026162', '0481c8')
    """
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _pem(body: bytes) -> str:
    text = encodebytes(body).decode().replace("\n", "")
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE REQUEST-----", *lines, "-----END CERTIFICATE REQUEST-----", ""])
