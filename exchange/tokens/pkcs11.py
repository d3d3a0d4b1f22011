"""Devices that are reached through a PKCS#11 library, be it a vendor's or SoftHSM's.

A key is named by a URI of RFC 7512: ``pkcs11:id=%01``, ``pkcs11:object=demo-shop``; ``token`` and ``type`` may be
written and must agree. RSA signs with CKM_RSA_PKCS over a DigestInfo of ours and P-256 with CKM_ECDSA over a hash of
ours, which every device can. PKCS#11 has no SM2: vendors have numbers of their own for it, so that is settings.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal
from urllib.parse import unquote_to_bytes

from attrs import frozen
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import Field

from exchange.options import Location, Strict
from exchange.ports import SM2_ID
from exchange.tokens import sm2
from exchange.tokens._cryptoki import (
    EC_PARAMS,
    EC_POINT,
    FLAGS,
    INITIALIZED,
    MODULUS,
    PRIVATE_KEY,
    PUBLIC_EXPONENT,
    PUBLIC_KEY,
    CryptokiError,
    Module,
    Slot,
)
from exchange.tokens._cryptoki import Session as Cryptoki
from exchange.tokens.device import FATAL_CONFIG, FATAL_KEY, REQUEST, RETRY_OTHER, DeviceFault, DeviceSettings

RSA_PKCS, ECDSA = 0x1, 0x1041  # mechanisms
DIGEST_INFO: Final = {  # RFC 8017, 9.2, note 1
    "rsa-sha1": ("sha1", bytes.fromhex("3021300906052b0e03021a05000414")),
    "rsa-sha256": ("sha256", bytes.fromhex("3031300d060960864801650304020105000420")),
}
KINDS: Final = {  # what a code means for who must act; all others are the device's: try another one
    **dict.fromkeys((0x60, 0x62, 0x63, 0x68), FATAL_KEY),
    **dict.fromkeys((0x03, 0x54, 0x70, 0x71, 0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0x102), FATAL_CONFIG),
    **dict.fromkeys((0x20, 0x21), REQUEST),
}
MECHANISMS: Final = {RSA_PKCS: "RSA_PKCS", ECDSA: "ECDSA"}  # what signing asks for; the others go by number


class Sm2(Strict):
    """How the vendor's SM2 mechanism is used; it is given the hash (with the signer's id) unless *hashes*."""

    mechanism: int = Field(description="the vendor's number for it, 0x80000000 or above")
    hashes: bool = Field(False, description="whether the device hashes by itself, with the signer's id")
    writes: Literal["raw", "der"] = Field("raw", description="how it writes a signature")


class Pkcs11Settings(DeviceSettings):
    """Which library, and which token in it."""

    module: Location = Field(description="the vendor's library")
    token: str = Field("", description="label of the token; without, there must be just one")
    serial: str = Field("", description="its serial number, where labels aren't unique")
    sm2: Sm2 | None = Field(None, description="how SM2 is asked for, which PKCS#11 leaves to vendors")


@frozen
class Place:
    """Where a key is: what a URI of RFC 7512 says of it."""

    id: bytes | None
    label: str | None
    token: str | None

    @classmethod
    def read(cls, uri: str) -> Place:
        """Read a URI. Raises DeviceFault where it is none, or names no single private key."""
        scheme, _, rest = uri.partition(":")
        parts = dict(part.partition("=")[::2] for part in rest.partition("?")[0].split(";") if part)
        said = {name: unquote_to_bytes(value) for name, value in parts.items()}
        known = {"id", "object", "token", "type", "manufacturer", "model", "serial", "slot-id"}
        if scheme != "pkcs11" or not set(said) <= known or said.get("type", b"private") != b"private":
            raise DeviceFault(FATAL_KEY, "URI", f"{uri!r} is no URI of a private key (RFC 7512)")
        if "id" not in said and "object" not in said:
            raise DeviceFault(FATAL_KEY, "URI", f"{uri!r} must name the key: id=%01, or object=NAME")
        text = {name: value.decode("utf-8", "replace") for name, value in said.items()}
        return cls(said.get("id"), text.get("object"), text.get("token"))


class Pkcs11:
    """One token of one PKCS#11 library."""

    Settings = Pkcs11Settings

    def __init__(self, settings: Pkcs11Settings, pin: str) -> None:
        self._settings, self._pin = settings, pin

    def look(self) -> list[dict[str, Any]]:
        """Load the library and tell of every slot with a token; nobody logs in. Raises DeviceFault."""
        module = self._load()
        try:
            return [_seen(slot, module.mechanisms(slot.id)) for slot in module.slots()]
        except CryptokiError as error:
            raise fault(error) from error

    def _load(self) -> Module:
        try:
            return Module(self._settings.module)
        except (OSError, AttributeError) as error:
            raise DeviceFault(FATAL_CONFIG, "MODULE", f"{self._settings.module}: {error}") from error
        except CryptokiError as error:
            raise fault(error) from error

    def open(self) -> dict[str, str]:
        """Load the library, find the token, log in. Raises DeviceFault."""
        self._module = self._load()
        try:
            slots = [slot for slot in self._module.slots() if self._wanted(slot)]
            if len(slots) != 1:
                found = ", ".join(repr(slot.label) for slot in self._module.slots()) or "none"
                raise DeviceFault(RETRY_OTHER, "TOKEN", f"{len(slots)} tokens fit; in the slots are: {found}")
            self._slot = slots[0]
            self._logged_in = self._module.session(self._slot.id)  # while it is open, the login lasts
            self._logged_in.login(self._pin)
        except CryptokiError as error:
            raise fault(error) from error
        slot = self._slot
        return {"token": slot.label, "manufacturer": slot.manufacturer, "model": slot.model, "serial": slot.serial}

    def _wanted(self, slot: Slot) -> bool:
        settings = self._settings
        named = settings.token in ("", slot.label) and settings.serial in ("", slot.serial)
        return named and bool(slot.flags & INITIALIZED)

    def session(self) -> Signing:
        """Open one more session. Raises DeviceFault."""
        try:
            return Signing(self._module, self._slot, self._settings.sm2, self._pin)
        except CryptokiError as error:
            raise fault(error) from error


class Signing:
    """One session, and the handles of the keys that it has found."""

    def __init__(self, module: Module, slot: Slot, how: Sm2 | None, pin: str) -> None:
        self._module, self._slot, self._sm2, self._pin = module, slot, how, pin
        self._session: Cryptoki = module.session(slot.id)
        self._logged_in = self._session.logged_in()  # some tokens ask for no login
        self._handles: dict[tuple[int, str], int] = {}
        self._hash_of: dict[tuple[str, bytes], sm2.Hasher] = {}

    def sign(self, location: str, algorithm: str, data: bytes, sm2_id: bytes = SM2_ID) -> bytes:
        """Sign; see ``device.Session``."""
        try:
            mechanism, ready = self._ready(location, algorithm, data, sm2_id)
            value = self._session.sign(self._find(PRIVATE_KEY, location), mechanism, ready)
        except CryptokiError as error:
            raise fault(error) from error
        if algorithm == "sm2-sm3" and self._sm2 and self._sm2.writes == "der":
            return sm2.raw_signature(value)
        return value

    def logout(self) -> None:
        """Log out; see ``device.Session``."""
        try:
            self._session.logout()
        except CryptokiError as error:
            raise fault(error) from error

    def login(self) -> None:
        """Log in again; what was found before is found anew."""
        self._handles.clear()
        try:
            self._session.login(self._pin)
        except CryptokiError as error:
            raise fault(error) from error

    def _ready(self, location: str, algorithm: str, data: bytes, sm2_id: bytes) -> tuple[int, bytes]:
        """Return the mechanism, and what the device must be given."""
        if algorithm in DIGEST_INFO:
            name, head = DIGEST_INFO[algorithm]
            return RSA_PKCS, head + hashlib.new(name, data).digest()
        if algorithm == "ecdsa-sha256":
            return ECDSA, hashlib.sha256(data).digest()
        if algorithm == "sm2-sm3" and self._sm2:
            if not self._sm2.hashes:
                return self._sm2.mechanism, self._hasher(location, sm2_id)(data)
            if sm2_id == SM2_ID:
                return self._sm2.mechanism, data
            raise DeviceFault(
                REQUEST, "ID", "this device hashes by itself, with the customary signer's id and no other"
            )
        raise DeviceFault(REQUEST, "ALGORITHM", f"this device isn't set up for {algorithm!r}")

    def _hasher(self, location: str, sm2_id: bytes) -> sm2.Hasher:
        if (location, sm2_id) not in self._hash_of:
            self._hash_of[location, sm2_id] = sm2.Hasher(self._point(location), sm2_id)
        return self._hash_of[location, sm2_id]

    def public_key(self, location: str, algorithm: str = "") -> bytes:
        """Return the public half; see ``device.Session``."""
        try:
            object = self._find(PUBLIC_KEY, location)
            modulus = self._session.attribute(object, MODULUS)
            if modulus:
                exponent = self._session.attribute(object, PUBLIC_EXPONENT) or b"\x01\x00\x01"
                numbers = RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big"))
                return numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            point, curve = self._point(location), self._session.attribute(object, EC_PARAMS)
        except CryptokiError as error:
            raise fault(error) from error
        if curve == sm2.CURVE:
            return sm2.public_key_info(point)
        key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def _point(self, location: str) -> bytes:
        """Return the public point, uncompressed: 65 bytes, which most tokens put into an OCTET STRING."""
        point = self._session.attribute(self._find(PUBLIC_KEY, location), EC_POINT) or b""
        if len(point) == 67 and point[:2] == b"\x04\x41":
            point = point[2:]
        if len(point) != 65:
            raise DeviceFault(FATAL_KEY, "POINT", f"the public half of {location} can't be read")
        return point

    def _find(self, kind: int, location: str) -> int:
        known = self._handles.get((kind, location))
        if known is not None:
            return known
        place = Place.read(location)
        if place.token not in (None, self._slot.label):
            raise DeviceFault(FATAL_KEY, "URI", f"{location} is a key of another token than {self._slot.label!r}")
        found = self._session.find(kind, place.id, place.label)
        if not found:
            self._still_there()
        if len(found) != 1:
            half = "private" if kind == PRIVATE_KEY else "public"
            raise DeviceFault(FATAL_KEY, "KEY", f"{len(found) or 'no'} {half} key at {location}, there must be one")
        self._handles[kind, location] = found[0]
        return found[0]

    def _still_there(self) -> None:
        """Raise DeviceFault where the token, or our login, is gone: that nothing is found is no key's fault then."""
        self._module.slot(self._slot.id)
        if self._logged_in and not self._session.logged_in():
            raise DeviceFault(RETRY_OTHER, "CKR_USER_NOT_LOGGED_IN", "the login was ended by somebody else")


def _seen(slot: Slot, mechanisms: list[int]) -> dict[str, Any]:
    return {
        "slot": slot.id,
        "token": slot.label,
        "manufacturer": slot.manufacturer,
        "model": slot.model,
        "serial": slot.serial,
        "flags": [name for flag, name in FLAGS.items() if slot.flags & flag],
        "sessions": slot.sessions,
        "free_sessions": None if slot.most_sessions is None else slot.most_sessions - slot.sessions,
        "mechanisms": [MECHANISMS.get(number, f"0x{number:X}") for number in mechanisms],
    }


def fault(error: CryptokiError) -> DeviceFault:
    """Tell who must act on an error of the library."""
    text = str(error)
    return DeviceFault(KINDS.get(error.code, RETRY_OTHER), text.partition(": ")[2].partition(" ")[0], text)
