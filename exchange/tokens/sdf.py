"""Devices with the interface of GM/T 0018 (SDF), which the domestic cryptographic machines (密码机) have.

A key is named by its index: ``sdf:3``; SM2 and RSA keys are numbered apart. The device signs 32 bytes that stand for
the data: hashing with SM3 and the signer's id is ours, as is the padding of RSA (PKCS#1 v1.5). The right to use a key
belongs to a session, so every session asks for it anew. The interface knows no timeouts: a device that hangs is
noticed by whoever asked, who ends this process. Layouts and numbers are those of GM/T 0018-2012.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Literal

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import Field

from exchange.options import Location
from exchange.ports import SM2_ID
from exchange.tokens import sm2
from exchange.tokens.device import FATAL_CONFIG, FATAL_KEY, REQUEST, RETRY_OTHER, DeviceFault, DeviceSettings
from exchange.tokens.pkcs11 import DIGEST_INFO

_BASE: Final = 0x01000000
_UINT, _POINTER, _BYTES = ctypes.c_uint, ctypes.c_void_p, ctypes.c_char_p
_HALF: Final = 32  # bytes that the fields of a 256-bit curve really hold
_ROOM: Final = 2048  # more than any device writes: one with wider fields than it was set up for overruns nothing

NAMES: Final[Mapping[int, str]] = {
    0x01: "UNKNOWERR", 0x02: "NOTSUPPORT", 0x03: "COMMFAIL", 0x04: "HARDFAIL", 0x05: "OPENDEVICE", 0x06: "OPENSESSION",
    0x07: "PARDENY", 0x08: "KEYNOTEXIST", 0x09: "ALGNOTSUPPORT", 0x0A: "ALGMODNOTSUPPORT", 0x0B: "PKOPERR",
    0x0C: "SKOPERR", 0x0D: "SIGNERR", 0x0E: "VERIFYERR", 0x10: "STEPERR", 0x14: "KEYTYPEERR", 0x15: "KEYERR",
    0x1D: "INARGERR", 0x1E: "OUTARGERR",
}  # fmt: skip
KINDS: Final = {  # all others are the device's: try another one
    **dict.fromkeys((0x07, 0x08, 0x14, 0x15), FATAL_KEY),
    **dict.fromkeys((0x02, 0x09, 0x0A), FATAL_CONFIG),
    0x1D: REQUEST,
}
_CALLS: Final[Mapping[str, list[Any]]] = {
    "SDF_OpenDevice": [_POINTER],
    "SDF_OpenSession": [_POINTER, _POINTER],
    "SDF_GetDeviceInfo": [_POINTER, _POINTER],
    "SDF_GetPrivateKeyAccessRight": [_POINTER, _UINT, _BYTES, _UINT],
    "SDF_ExportSignPublicKey_ECC": [_POINTER, _UINT, _POINTER],
    "SDF_ExportSignPublicKey_RSA": [_POINTER, _UINT, _POINTER],
    "SDF_InternalSign_ECC": [_POINTER, _UINT, _BYTES, _UINT, _POINTER],
    "SDF_InternalPrivateKeyOperation_RSA": [_POINTER, _UINT, _BYTES, _UINT, _POINTER, _POINTER],
}


class SdfSettings(DeviceSettings):
    """Which library, and how wide its fields are."""

    module: Location = Field(description="the vendor's library")
    ecc_bytes: Literal[32, 64] = Field(64, description="of each number in keys and signatures; 32: before 2012")
    rsa_bytes: Literal[256, 512] = Field(256, description="the same of RSA; 512 where the vendor has 4096-bit keys")
    access: Literal["pin", "none"] = Field("pin", description="whether the right to use a key is asked for, by PIN")


class _DeviceInfo(ctypes.Structure):
    _pack_ = 1
    _fields_ = (
        ("issuer", ctypes.c_char * 40), ("name", ctypes.c_char * 16), ("serial", ctypes.c_char * 16),
        ("version", _UINT), ("standard", _UINT), ("asymmetric", _UINT * 2), ("symmetric", _UINT), ("hash", _UINT),
        ("buffer", _UINT),
    )  # fmt: skip


class Sdf:
    """One device."""

    Settings = SdfSettings

    def __init__(self, settings: SdfSettings, pin: str) -> None:
        self._settings, self._pin = settings, pin

    def look(self) -> list[dict[str, Any]]:
        """Load the library and tell what the device says of itself. Raises DeviceFault."""
        texts = self.open()
        about = self._about
        numbers = {"version": about.version, "standard": about.standard, "buffer_bytes": about.buffer}
        abilities = {"asymmetric": about.asymmetric[0], "symmetric": about.symmetric, "hash": about.hash}
        return [texts | numbers | {name: f"0x{mask:08X}" for name, mask in abilities.items()}]

    def open(self) -> dict[str, str]:
        """Load the library and open the device. Raises DeviceFault."""
        try:
            library = ctypes.CDLL(str(self._settings.module))
            for name, takes in _CALLS.items():
                getattr(library, name).argtypes = takes
        except (OSError, AttributeError) as error:
            raise DeviceFault(FATAL_CONFIG, "MODULE", f"{self._settings.module}: {error}") from error
        self._library = library
        self._device = _POINTER()
        call(library, "SDF_OpenDevice", ctypes.byref(self._device))
        session, about = _POINTER(), _DeviceInfo()
        call(library, "SDF_OpenSession", self._device, ctypes.byref(session))
        call(library, "SDF_GetDeviceInfo", session, ctypes.byref(about))
        self._about = about
        texts = {"manufacturer": about.issuer, "model": about.name, "serial": about.serial}
        return {name: text.decode("gb18030", "replace").strip() for name, text in texts.items()}

    def session(self) -> Signing:
        """Open one more session. Raises DeviceFault."""
        session = _POINTER()
        call(self._library, "SDF_OpenSession", self._device, ctypes.byref(session))
        return Signing(self._library, session, self._settings, self._pin)


class Signing:
    """One session, and the keys that it may use."""

    def __init__(self, library: Any, session: Any, settings: SdfSettings, pin: str) -> None:
        self._library, self._session, self._settings, self._pin = library, session, settings, pin
        self._allowed: set[int] = set()
        self._hashers: dict[tuple[int, bytes], sm2.Hasher] = {}

    def sign(self, location: str, algorithm: str, data: bytes, sm2_id: bytes = SM2_ID) -> bytes:
        """Sign; see ``device.Session``."""
        index = _index(location)
        sign = self._signer(algorithm, sm2_id)
        if index not in self._allowed and self._settings.access == "pin":
            self._ask_for(index)
        return sign(index, data)

    def _ask_for(self, index: int) -> None:
        pin = self._pin.encode()
        call(self._library, "SDF_GetPrivateKeyAccessRight", self._session, index, pin, len(pin))
        self._allowed.add(index)

    def logout(self) -> None:
        """Give the rights back; see ``device.Session``."""
        name = "SDF_ReleasePrivateKeyAccessRight"  # some libraries are without, and signing needs it not
        if not hasattr(self._library, name):
            raise DeviceFault(REQUEST, "NONE", f"the library has no {name}")
        for index in self._allowed:
            call(self._library, name, self._session, index)

    def login(self) -> None:
        """Ask for the rights again that this session had."""
        for index in self._allowed:
            self._ask_for(index)

    def _signer(self, algorithm: str, sm2_id: bytes) -> Callable[[int, bytes], bytes]:
        if algorithm == "sm2-sm3":
            return lambda index, data: self._sm2(index, data, sm2_id)
        if algorithm in DIGEST_INFO:
            name, head = DIGEST_INFO[algorithm]
            return lambda index, data: self._rsa(index, head + hashlib.new(name, data).digest())
        raise DeviceFault(REQUEST, "ALGORITHM", f"a device of this kind has no {algorithm!r}")

    def _sm2(self, index: int, data: bytes, sm2_id: bytes) -> bytes:
        if (index, sm2_id) not in self._hashers:
            self._hashers[index, sm2_id] = sm2.Hasher(self._point(index), sm2_id)
        width = self._settings.ecc_bytes
        out = ctypes.create_string_buffer(_ROOM)
        stand_in = self._hashers[index, sm2_id](data)
        call(self._library, "SDF_InternalSign_ECC", self._session, index, stand_in, len(stand_in), out)
        return out.raw[width - _HALF : width] + out.raw[2 * width - _HALF : 2 * width]

    def _rsa(self, index: int, info: bytes) -> bytes:
        size = (self._rsa_numbers(index).n.bit_length() + 7) // 8
        padded = b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info  # EMSA-PKCS1-v1_5, RFC 8017, 9.2
        out, length = ctypes.create_string_buffer(size), _UINT(size)
        call(
            self._library, "SDF_InternalPrivateKeyOperation_RSA", self._session, index, padded, size, out,
            ctypes.byref(length),
        )  # fmt: skip
        return out.raw[: length.value]

    def public_key(self, location: str, algorithm: str = "") -> bytes:
        """Return the public half; of an index that has both kinds of key, the one for *algorithm*, or the SM2 one."""
        index = _index(location)
        if algorithm in DIGEST_INFO:
            return self._rsa_info(index)
        try:
            return sm2.public_key_info(self._point(index))
        except DeviceFault as fault:
            if algorithm or fault.kind == RETRY_OTHER:
                raise
            with suppress(DeviceFault):  # the first fault tells more
                return self._rsa_info(index)
            raise

    def _rsa_info(self, index: int) -> bytes:
        key = self._rsa_numbers(index).public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def _point(self, index: int) -> bytes:
        width = self._settings.ecc_bytes
        out = ctypes.create_string_buffer(_ROOM)  # bits, x, y
        call(self._library, "SDF_ExportSignPublicKey_ECC", self._session, index, out)
        x, y = (out.raw[4 + end - _HALF : 4 + end] for end in (width, 2 * width))
        return b"\x04" + x + y

    def _rsa_numbers(self, index: int) -> RSAPublicNumbers:
        width = self._settings.rsa_bytes
        out = ctypes.create_string_buffer(_ROOM)  # bits, modulus, exponent
        call(self._library, "SDF_ExportSignPublicKey_RSA", self._session, index, out)
        n, e = (int.from_bytes(part, "big") for part in (out.raw[4 : 4 + width], out.raw[4 + width : 4 + 2 * width]))
        return RSAPublicNumbers(e, n)


def _index(location: str) -> int:
    scheme, _, number = location.partition(":")
    if scheme != "sdf" or not (number.isascii() and number.isdigit()):
        raise DeviceFault(FATAL_KEY, "LOCATION", f"{location!r} is no key of such a device: write sdf:INDEX")
    return int(number)


def call(library: Any, name: str, *arguments: Any) -> None:
    """Make one call. Raises DeviceFault."""
    code = getattr(library, name)(*arguments) & 0xFFFFFFFF
    if code:
        known = NAMES.get(code - _BASE)
        shown = f"SDR_{known}" if known else "SDR_VENDOR"
        kind = KINDS.get(code - _BASE, RETRY_OTHER)
        if name == "SDF_OpenDevice" and code - _BASE == 0x07:
            kind = FATAL_CONFIG
        raise DeviceFault(kind, shown, f"{name}: {shown} (0x{code:08X})")
