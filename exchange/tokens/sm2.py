"""SM2 signatures (GB/T 32918) by the system's libcrypto: a small binding, because cryptography has no SM2.

Values are raw ``r || s``, 64 bytes, as the customs' signatures carry them; libcrypto speaks DER. The library is
loaded at first use and must pass the standard's own example before it is trusted. Some systems build OpenSSL
without SM2: every call then raises TokenError ``SWX-5040``, and all other algorithms work on.

The GIL is let go of while libcrypto computes, and a key may be used by several threads at once.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SM3, Hash

from exchange.errors import TokenError
from exchange.ports import SM2_ID

USER_ID: Final = SM2_ID
_HALF: Final = 32  # bytes of r, and of s, on any 256-bit curve

_LIBRARY: Final = "libcrypto.so.3"
_POINTER, _INT, _SIZE, _BYTES = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_char_p
_PROTOTYPES: Final = {
    "BIO_new_mem_buf": (_POINTER, _BYTES, _INT),
    "BIO_free": (_INT, _POINTER),
    "PEM_read_bio_PrivateKey": (_POINTER, _POINTER, _POINTER, _POINTER, _BYTES),
    "d2i_PUBKEY": (_POINTER, _POINTER, ctypes.POINTER(_BYTES), ctypes.c_long),
    "i2d_PUBKEY": (_INT, _POINTER, _POINTER),
    "d2i_X509": (_POINTER, _POINTER, ctypes.POINTER(_BYTES), ctypes.c_long),
    "X509_get_pubkey": (_POINTER, _POINTER),
    "X509_free": (None, _POINTER),
    "EVP_PKEY_is_a": (_INT, _POINTER, _BYTES),
    "EVP_PKEY_eq": (_INT, _POINTER, _POINTER),
    "EVP_PKEY_free": (None, _POINTER),
    "EVP_PKEY_CTX_new": (_POINTER, _POINTER, _POINTER),
    "EVP_PKEY_CTX_set1_id": (_INT, _POINTER, _BYTES, _INT),
    "EVP_PKEY_CTX_free": (None, _POINTER),
    "EVP_MD_CTX_new": (_POINTER,),
    "EVP_MD_CTX_set_pkey_ctx": (None, _POINTER, _POINTER),
    "EVP_MD_CTX_free": (None, _POINTER),
    "EVP_sm3": (_POINTER,),
    "EVP_DigestSignInit": (_INT, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER),
    "EVP_DigestSign": (_INT, _POINTER, _BYTES, ctypes.POINTER(_SIZE), _BYTES, _SIZE),
    "EVP_DigestVerifyInit": (_INT, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER),
    "EVP_DigestVerify": (_INT, _POINTER, _BYTES, _SIZE, _BYTES, _SIZE),
    "ERR_clear_error": (None,),
}
_SLOW: Final = {"EVP_DigestSign", "EVP_DigestVerify"}  # these let go of the GIL; for the rest, that would cost more

# GB/T 32918.5-2017, A.2: the public key, the message and its signature.
_EXAMPLE_KEY: Final = bytes.fromhex(
    "3059301306072a8648ce3d020106082a811ccf5501822d03420004"
    "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
    "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
)
_EXAMPLE_DATA: Final = b"message digest"
_EXAMPLE_SIGNATURE: Final = bytes.fromhex(
    "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
    "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
)


CURVE: Final = bytes.fromhex("06082a811ccf5501822d")  # the curve's object identifier, 1.2.156.10197.1.301, in DER
_SPKI: Final = _EXAMPLE_KEY[:26]  # what stands before the point in a SubjectPublicKeyInfo
_CURVE: Final = bytes.fromhex(  # a, b and the generator: GB/T 32918.5-2017, 2
    "fffffffeffffffffffffffffffffffffffffffff00000000fffffffffffffffc"
    "28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93"
    "32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7"
    "bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0"
)


def public_key_info(point: bytes) -> bytes:
    """Return the DER SubjectPublicKeyInfo of an uncompressed point (65 bytes)."""
    return _SPKI + point


class Hasher:
    """What devices sign: SM3 over the signer's id, the curve, his public point, and the data (GB/T 32918.2, 5.5)."""

    def __init__(self, point: bytes, user_id: bytes = USER_ID) -> None:
        head = (8 * len(user_id)).to_bytes(2, "big") + user_id + _CURVE + point[1:]
        self._signer = sm3(head)

    def __call__(self, data: bytes) -> bytes:
        """Return the 32 bytes that stand for *data*."""
        return sm3(self._signer + data)


def sm3(data: bytes) -> bytes:
    """Return the SM3 digest (GB/T 32905); hashlib has it only where the system's OpenSSL has."""
    digest = Hash(SM3())
    digest.update(data)
    return digest.finalize()


def raw_signature(der: bytes) -> bytes:
    """Turn a DER signature of a 256-bit curve into ``r || s``, each padded to 32 bytes. Raises ValueError.

    >>> raw_signature(der_signature(bytes(range(64)))) == bytes(range(64))
    True
    """
    r, s = decode_dss_signature(der)
    if not 0 <= min(r, s) <= max(r, s) < 1 << 8 * _HALF:
        raise ValueError("r and s of a 256-bit curve have 32 bytes each")
    return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")


def der_signature(raw: bytes) -> bytes:
    """Turn ``r || s`` into DER. Raises ValueError where *raw* isn't 64 bytes."""
    if len(raw) != 2 * _HALF:
        raise ValueError(f"r || s of a 256-bit curve has 64 bytes, not {len(raw)}")
    return encode_dss_signature(int.from_bytes(raw[:_HALF], "big"), int.from_bytes(raw[_HALF:], "big"))


def _load() -> Any:
    """Open the library and declare its prototypes; raise OSError or AttributeError where something is missing."""
    try:
        quick = ctypes.PyDLL(_LIBRARY)
    except OSError:
        quick = ctypes.PyDLL(ctypes.util.find_library("crypto") or _LIBRARY)
    slow = ctypes.CDLL(quick._name)
    crypto = SimpleNamespace()
    for name, (result, *arguments) in _PROTOTYPES.items():
        function = getattr(slow if name in _SLOW else quick, name)
        function.restype, function.argtypes = result, arguments
        setattr(crypto, name, function)
    return crypto


@cache
def _libcrypto() -> Any:
    """Load libcrypto and try it on the standard's example. Raises TokenError where there is no SM2 in it."""
    try:
        crypto = _load()
        example = PublicKey(_read(crypto, "d2i_PUBKEY", _EXAMPLE_KEY), crypto)
        proven = example.verify(_EXAMPLE_SIGNATURE, _EXAMPLE_DATA)
        proven &= not example.verify(_EXAMPLE_SIGNATURE, _EXAMPLE_DATA + b"!")
    except (OSError, AttributeError, ValueError, TokenError):
        proven = False
    if not proven:
        raise TokenError(
            "the system's libcrypto (OpenSSL 3) can't do SM2: install an OpenSSL that was built with SM2 and SM3",
            "系统的 libcrypto（OpenSSL 3）不支持 SM2：请安装编译时启用了 SM2 和 SM3 的 OpenSSL",
            code="SWX-5040",
        )
    return crypto


def _read(crypto: Any, decoder: str, der: bytes) -> int | None:
    """Run one of libcrypto's ``d2i`` functions, which move the pointer they are given."""
    pointer = ctypes.c_char_p(der)
    handle: int | None = getattr(crypto, decoder)(None, ctypes.byref(pointer), len(der))
    return handle


class Key:
    """An SM2 key in libcrypto's hands; it is freed with this object."""

    def __init__(self, handle: int | None, crypto: Any) -> None:
        """Take over an ``EVP_PKEY``. Raises ValueError where it is none, or no SM2 key."""
        crypto.ERR_clear_error()  # what is left in the thread's queue would be blamed on the ssl module's next call
        if handle is None:
            raise ValueError("not an SM2 key that libcrypto can read, or the password is wrong")
        weakref.finalize(self, crypto.EVP_PKEY_free, handle)
        if crypto.EVP_PKEY_is_a(handle, b"SM2") != 1:
            raise ValueError("a key, but not an SM2 one")
        self._handle = handle
        self._crypto = crypto

    def matches(self, other: Key) -> bool:
        """Tell whether both have the same public half."""
        return bool(self._crypto.EVP_PKEY_eq(self._handle, other._handle) == 1)

    def info(self) -> bytes:
        """Return its public half, a DER SubjectPublicKeyInfo."""
        room = ctypes.create_string_buffer(self._crypto.i2d_PUBKEY(self._handle, None))
        end = _POINTER(ctypes.addressof(room))
        self._crypto.i2d_PUBKEY(self._handle, ctypes.byref(end))
        return room.raw

    @contextmanager
    def _digest(self, start: Callable[..., int], user_id: bytes) -> Iterator[int]:
        """Give an ``EVP_MD_CTX`` that *start* (DigestSignInit or DigestVerifyInit) made ready for SM2 with SM3."""
        crypto = self._crypto
        context = crypto.EVP_PKEY_CTX_new(self._handle, None)
        digest = crypto.EVP_MD_CTX_new()
        try:
            crypto.EVP_MD_CTX_set_pkey_ctx(digest, context)
            named = crypto.EVP_PKEY_CTX_set1_id(context, user_id, len(user_id)) == 1
            if not (named and start(digest, None, crypto.EVP_sm3(), None, self._handle) == 1):
                raise TokenError(
                    "libcrypto can't start an SM2 signature", "libcrypto 无法开始 SM2 签名", code="SWX-5050"
                )
            yield digest
        finally:  # the digest borrows the context and doesn't own it
            crypto.EVP_MD_CTX_free(digest)
            crypto.EVP_PKEY_CTX_free(context)
            crypto.ERR_clear_error()


class PrivateKey(Key):
    """The private half: signs."""

    @classmethod
    def from_pem(cls, pem: bytes, password: bytes = b"") -> PrivateKey:
        """Read a PEM private key (SEC 1 or PKCS#8, encrypted or not). Raises ValueError, TokenError."""
        crypto = _libcrypto()
        source = crypto.BIO_new_mem_buf(pem, len(pem))
        try:  # always a password, even an empty one: without any, libcrypto would ask on the terminal
            return cls(crypto.PEM_read_bio_PrivateKey(source, None, None, password), crypto)
        finally:
            crypto.BIO_free(source)

    def sign(self, data: bytes, user_id: bytes = USER_ID) -> bytes:
        """Sign *data* (hashed with SM3 together with the signer's id and key); return ``r || s``."""
        room = ctypes.create_string_buffer(80)
        size = ctypes.c_size_t(len(room))
        with self._digest(self._crypto.EVP_DigestSignInit, user_id) as digest:
            if self._crypto.EVP_DigestSign(digest, room, ctypes.byref(size), data, len(data)) != 1:
                raise TokenError("libcrypto failed to sign with SM2", "libcrypto 的 SM2 签名失败", code="SWX-5050")
        return raw_signature(room.raw[: size.value])


class PublicKey(Key):
    """The public half: verifies."""

    @classmethod
    def from_der(cls, der: bytes) -> PublicKey:
        """Read a DER SubjectPublicKeyInfo. Raises ValueError, TokenError."""
        crypto = _libcrypto()
        return cls(_read(crypto, "d2i_PUBKEY", der), crypto)

    @classmethod
    def from_certificate(cls, der: bytes) -> PublicKey:
        """Take the public key out of a DER certificate. Raises ValueError, TokenError."""
        crypto = _libcrypto()
        certificate = _read(crypto, "d2i_X509", der)
        try:
            return cls(crypto.X509_get_pubkey(certificate), crypto)
        finally:
            crypto.X509_free(certificate)

    def verify(self, signature: bytes, data: bytes, user_id: bytes = USER_ID) -> bool:
        """Tell whether *signature* (``r || s``, or DER, which some signers write) is this key's over *data*."""
        der = der_signature(signature) if len(signature) == 2 * _HALF else signature
        with self._digest(self._crypto.EVP_DigestVerifyInit, user_id) as digest:
            return bool(self._crypto.EVP_DigestVerify(digest, der, len(der), data, len(data)) == 1)
