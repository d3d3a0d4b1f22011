"""PKCS#11 (Cryptoki 2.x) by ctypes: just what signing needs, and nothing that isn't thread-safe.

The module is initialized with ``CKF_OS_LOCKING_OK``; without that, several threads crash some of them. The interpreter
lock is let go of in every call. A session belongs to one thread, strictly: concurrent searches in one would mix.
Numbers and layouts are those of the OASIS standard "PKCS #11 Cryptographic Token Interface Base Specification 2.40".
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import frozen

_ULONG, _POINTER, _BYTE = ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ubyte
_UNAVAILABLE: Final = 2 ** (8 * ctypes.sizeof(_ULONG)) - 1  # the length of what a key won't tell
_BUFFER: Final = 1024  # bytes of a signature: RSA of 8192 bits

OS_LOCKING_OK, SERIAL_SESSION, USER = 2, 4, 1
INITIALIZED: Final = 0x400  # a flag of a token
FLAGS: Final[Mapping[int, str]] = {
    0x2: "write-protected", 0x4: "login", 0x8: "pin-set", 0x100: "pin-pad", INITIALIZED: "initialized",
    0x10000: "pin-count-low", 0x20000: "pin-final-try", 0x40000: "pin-locked", 0x80000: "pin-to-be-changed",
}  # fmt: skip
PUBLIC_KEY, PRIVATE_KEY = 2, 3  # object classes
CLASS, LABEL, ID, MODULUS, PUBLIC_EXPONENT, EC_PARAMS, EC_POINT = 0, 3, 0x102, 0x120, 0x122, 0x180, 0x181

ERRORS: Final[Mapping[int, str]] = {
    0x02: "HOST_MEMORY", 0x03: "SLOT_ID_INVALID", 0x05: "GENERAL_ERROR", 0x06: "FUNCTION_FAILED",
    0x07: "ARGUMENTS_BAD", 0x20: "DATA_INVALID", 0x21: "DATA_LEN_RANGE", 0x30: "DEVICE_ERROR", 0x31: "DEVICE_MEMORY",
    0x32: "DEVICE_REMOVED", 0x54: "FUNCTION_NOT_SUPPORTED", 0x60: "KEY_HANDLE_INVALID", 0x62: "KEY_SIZE_RANGE",
    0x63: "KEY_TYPE_INCONSISTENT", 0x68: "KEY_FUNCTION_NOT_PERMITTED", 0x70: "MECHANISM_INVALID",
    0x71: "MECHANISM_PARAM_INVALID", 0x82: "OBJECT_HANDLE_INVALID", 0x90: "OPERATION_ACTIVE",
    0x91: "OPERATION_NOT_INITIALIZED", 0xA0: "PIN_INCORRECT", 0xA1: "PIN_INVALID", 0xA2: "PIN_LEN_RANGE",
    0xA3: "PIN_EXPIRED", 0xA4: "PIN_LOCKED", 0xB0: "SESSION_CLOSED", 0xB1: "SESSION_COUNT",
    0xB3: "SESSION_HANDLE_INVALID", 0xE0: "TOKEN_NOT_PRESENT", 0xE1: "TOKEN_NOT_RECOGNIZED",
    0x100: "USER_ALREADY_LOGGED_IN", 0x101: "USER_NOT_LOGGED_IN", 0x102: "USER_PIN_NOT_INITIALIZED",
    0x150: "BUFFER_TOO_SMALL", 0x190: "CRYPTOKI_NOT_INITIALIZED", 0x191: "CRYPTOKI_ALREADY_INITIALIZED",
}  # fmt: skip
ALREADY_LOGGED_IN, ALREADY_INITIALIZED, NOT_LOGGED_IN = 0x100, 0x191, 0x101


class CryptokiError(Exception):
    """A call returned something else than CKR_OK."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"{call}: CKR_{ERRORS.get(code, 'VENDOR_DEFINED' if code >> 31 else 'UNKNOWN')} (0x{code:X})")
        self.code = code


class _Mechanism(ctypes.Structure):
    _fields_ = (("mechanism", _ULONG), ("parameter", _POINTER), ("length", _ULONG))


class _Attribute(ctypes.Structure):
    _fields_ = (("type", _ULONG), ("value", _POINTER), ("length", _ULONG))


class _InitializeArgs(ctypes.Structure):
    _fields_ = (
        ("create", _POINTER), ("destroy", _POINTER), ("lock", _POINTER), ("unlock", _POINTER), ("flags", _ULONG),
        ("reserved", _POINTER),
    )  # fmt: skip


class _Version(ctypes.Structure):
    _fields_ = (("major", _BYTE), ("minor", _BYTE))


class _TokenInfo(ctypes.Structure):
    _fields_ = (
        ("label", ctypes.c_char * 32), ("manufacturer", ctypes.c_char * 32), ("model", ctypes.c_char * 16),
        ("serial", ctypes.c_char * 16), ("flags", _ULONG), ("most_sessions", _ULONG), ("sessions", _ULONG),
        *((f"count{n}", _ULONG) for n in range(8)), ("hardware", _Version), ("firmware", _Version),
        ("time", ctypes.c_char * 16),
    )  # fmt: skip


class _SessionInfo(ctypes.Structure):
    _fields_ = (("slot", _ULONG), ("state", _ULONG), ("flags", _ULONG), ("error", _ULONG))


# Where the calls stand in CK_FUNCTION_LIST, and what they take; many a module exports nothing but the list.
_CALLS: Final[Mapping[str, tuple[int, Sequence[Any]]]] = {
    "C_Initialize": (0, [_POINTER]),
    "C_Finalize": (1, [_POINTER]),
    "C_GetSlotList": (4, [_BYTE, _POINTER, _POINTER]),
    "C_GetTokenInfo": (6, [_ULONG, _POINTER]),
    "C_GetMechanismList": (7, [_ULONG, _POINTER, _POINTER]),
    "C_OpenSession": (12, [_ULONG, _ULONG, _POINTER, _POINTER, _POINTER]),
    "C_CloseSession": (13, [_ULONG]),
    "C_GetSessionInfo": (15, [_ULONG, _POINTER]),
    "C_Login": (18, [_ULONG, _ULONG, ctypes.c_char_p, _ULONG]),
    "C_Logout": (19, [_ULONG]),
    "C_GetAttributeValue": (24, [_ULONG, _ULONG, _POINTER, _ULONG]),
    "C_FindObjectsInit": (26, [_ULONG, _POINTER, _ULONG]),
    "C_FindObjects": (27, [_ULONG, _POINTER, _ULONG, _POINTER]),
    "C_FindObjectsFinal": (28, [_ULONG]),
    "C_SignInit": (42, [_ULONG, _POINTER, _ULONG]),
    "C_Sign": (43, [_ULONG, ctypes.c_char_p, _ULONG, _POINTER, _POINTER]),
}


@frozen
class Slot:
    """One slot with a token in it."""

    id: int
    label: str
    manufacturer: str
    model: str
    serial: str
    flags: int
    sessions: int
    most_sessions: int | None  # None: it doesn't say, or there is no limit


class Module:
    """One loaded and initialized PKCS#11 library. Raises OSError where it can't be loaded, CryptokiError."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        table = ctypes.POINTER(_POINTER)()
        library.C_GetFunctionList.argtypes = [_POINTER]
        library.C_GetFunctionList.restype = _ULONG
        self._check("C_GetFunctionList", library.C_GetFunctionList(ctypes.byref(table)))
        self._functions = {
            name: ctypes.CFUNCTYPE(_ULONG, *takes)(table[1 + place]) for name, (place, takes) in _CALLS.items()
        }
        arguments = _InitializeArgs(flags=OS_LOCKING_OK)
        try:
            self.call("C_Initialize", ctypes.byref(arguments))
        except CryptokiError as error:
            if error.code != ALREADY_INITIALIZED:
                raise

    def call(self, name: str, *arguments: Any) -> None:
        """Make one call. Raises CryptokiError."""
        self._check(name, self._functions[name](*arguments))

    def _check(self, name: str, code: int) -> None:
        if code:
            raise CryptokiError(name, code)

    def slots(self) -> list[Slot]:
        """Return the slots in which there is a token."""
        count = _ULONG()
        self.call("C_GetSlotList", 1, None, ctypes.byref(count))
        ids = (_ULONG * max(1, count.value))()
        self.call("C_GetSlotList", 1, ids, ctypes.byref(count))
        found = []
        for id in ids[: count.value]:
            with suppress(CryptokiError):  # one that is broken must not hide the others
                found.append(self.slot(id))
        return found

    def slot(self, id: int) -> Slot:
        """Return a slot with its token. Raises CryptokiError, as where the token is gone."""
        info = _TokenInfo()
        self.call("C_GetTokenInfo", id, ctypes.byref(info))
        label, manufacturer, model, serial = (
            text.decode("utf-8", "replace").rstrip()
            for text in (info.label, info.manufacturer, info.model, info.serial)
        )
        most = None if info.most_sessions in (0, _UNAVAILABLE) else info.most_sessions
        open_now = 0 if info.sessions == _UNAVAILABLE else info.sessions
        return Slot(id, label, manufacturer, model, serial, info.flags, open_now, most)

    def mechanisms(self, slot: int) -> list[int]:
        """Return the numbers of what a token can do."""
        count = _ULONG()
        self.call("C_GetMechanismList", slot, None, ctypes.byref(count))
        numbers = (_ULONG * max(1, count.value))()
        self.call("C_GetMechanismList", slot, numbers, ctypes.byref(count))
        return sorted(numbers[: count.value])

    def session(self, slot: int) -> Session:
        """Open a session."""
        handle = _ULONG()
        self.call("C_OpenSession", slot, SERIAL_SESSION, None, None, ctypes.byref(handle))
        return Session(self, handle.value)

    def close(self) -> None:
        """Finalize: every session is closed by it, and every login is over."""
        with suppress(CryptokiError):
            self.call("C_Finalize", None)


class Session:
    """One session, for one thread."""

    def __init__(self, module: Module, handle: int) -> None:
        self._module, self._handle = module, handle
        self._out = ctypes.create_string_buffer(_BUFFER)

    def login(self, pin: str) -> None:
        """Log in: that counts for every session of this process with the token."""
        secret = pin.encode()
        try:
            self._module.call("C_Login", self._handle, USER, secret, len(secret))
        except CryptokiError as error:
            if error.code != ALREADY_LOGGED_IN:
                raise

    def logout(self) -> None:
        """Log out: that counts for every session of this process, too."""
        self._module.call("C_Logout", self._handle)

    def logged_in(self) -> bool:
        """Tell whether the login still stands."""
        info = _SessionInfo()
        self._module.call("C_GetSessionInfo", self._handle, ctypes.byref(info))
        return info.state in (1, 3)  # CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS

    def find(self, kind: int, id: bytes | None, label: str | None) -> list[int]:
        """Return the handles of up to two objects of a class with this id and label."""
        wanted: list[tuple[int, Any]] = [(CLASS, bytes(_ULONG(kind)))]
        wanted += [(ID, id)] if id is not None else []
        wanted += [(LABEL, label.encode())] if label is not None else []
        buffers = [ctypes.create_string_buffer(value, len(value)) for _, value in wanted]
        template = (_Attribute * len(wanted))(
            *(
                _Attribute(type, ctypes.cast(buffer, _POINTER), len(buffer))
                for (type, _), buffer in zip(wanted, buffers, strict=True)
            )
        )
        handles, count = (_ULONG * 2)(), _ULONG()
        self._module.call("C_FindObjectsInit", self._handle, template, len(wanted))
        try:
            self._module.call("C_FindObjects", self._handle, handles, 2, ctypes.byref(count))
        finally:
            self._module.call("C_FindObjectsFinal", self._handle)
        return list(handles[: count.value])

    def attribute(self, object: int, type: int) -> bytes | None:
        """Return the value of an attribute; None where the object hasn't it, or won't tell."""
        asked = _Attribute(type, None, 0)
        try:
            self._module.call("C_GetAttributeValue", self._handle, object, ctypes.byref(asked), 1)
            if asked.length == _UNAVAILABLE:
                return None
            value = ctypes.create_string_buffer(asked.length)
            asked.value = ctypes.cast(value, _POINTER)
            self._module.call("C_GetAttributeValue", self._handle, object, ctypes.byref(asked), 1)
        except CryptokiError as error:
            if error.code in (0x11, 0x12):  # ATTRIBUTE_SENSITIVE, ATTRIBUTE_TYPE_INVALID
                return None
            raise
        return value.raw

    def sign(self, key: int, mechanism: int, data: bytes) -> bytes:
        """Sign with a private key."""
        how, size = _Mechanism(mechanism, None, 0), _ULONG(len(self._out))
        self._module.call("C_SignInit", self._handle, ctypes.byref(how), key)
        self._module.call("C_Sign", self._handle, data, len(data), self._out, ctypes.byref(size))
        return self._out.raw[: size.value]

    def close(self) -> None:
        """Close."""
        with suppress(CryptokiError):
            self._module.call("C_CloseSession", self._handle)
