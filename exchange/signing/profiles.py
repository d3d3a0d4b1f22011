"""Signature profiles (签名规格): which URIs, digest and encoding one kind of signature has. The table is the code.

``ceb-sm2`` and ``ceb-rsa-sha1`` are what the customs' cross-border messages carry in the field; a SHA-1 digest under
an SM2 signature is no slip of the pen. ``chinaport-2022-sm2`` is what the 2022 specification (chapter 6) prefers.
``rsa-sha256`` and ``ecdsa-sha256`` are the W3C's (RFC 6931, 2.3.2 and 2.3.6).
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from attrs import frozen

from exchange.errors import ConfigurationError
from exchange.tokens.sm2 import sm3

_W3C: Final = "http://www.w3.org/2000/09/xmldsig#"
_RFC6931: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_XMLENC: Final = "http://www.w3.org/2001/04/xmlenc#"
_CHINAPORT: Final = "http://www.chinaport.gov.cn/2022/04/xmldsig#"


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()  # what the customs' receivers check; by profile only


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@frozen
class Profile:
    """One kind of enveloped XML signature."""

    name: str
    algorithm: str  # what a token is asked for: sm2-sm3 | rsa-sha1 | rsa-sha256 | ecdsa-sha256
    method: str  # URI of the SignatureMethod
    digest_method: str  # URI of the DigestMethod
    digest: Callable[[bytes], bytes]


_TABLE: Final = (
    Profile("ceb-sm2", "sm2-sm3", _W3C + "sm2-sm3", _W3C + "sha1", _sha1),
    Profile("ceb-rsa-sha1", "rsa-sha1", _W3C + "rsa-sha1", _W3C + "sha1", _sha1),
    Profile("chinaport-2022-sm2", "sm2-sm3", _CHINAPORT + "sm2-sm3", _CHINAPORT + "sm3", sm3),
    Profile("rsa-sha256", "rsa-sha256", _RFC6931 + "rsa-sha256", _XMLENC + "sha256", _sha256),
    Profile("ecdsa-sha256", "ecdsa-sha256", _RFC6931 + "ecdsa-sha256", _XMLENC + "sha256", _sha256),
)

PROFILES: Final[Mapping[str, Profile]] = MappingProxyType({profile.name: profile for profile in _TABLE})


def named(name: str) -> Profile:
    """Return the profile called *name*. Raises ConfigurationError that suggests what may have been meant."""
    if name in PROFILES:
        return PROFILES[name]
    near = difflib.get_close_matches(name, PROFILES, 1) or [", ".join(PROFILES)]
    raise ConfigurationError([f"unknown signature profile {name!r}, did you mean {near[0]}?"], code="SWX-4050")


@lru_cache(maxsize=256)
def accepted(names: tuple[str, ...]) -> tuple[Profile, ...]:
    """Return the profiles that an agreement accepts: those named, or every known one where none is."""
    return tuple(named(name) for name in names) or tuple(PROFILES.values())
