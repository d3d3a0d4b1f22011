"""Signature profiles (签名规格): format, algorithms, identifiers and encoding of one kind of signature, by version.

Those that every switch knows are ``profiles.yaml``; a site adds its own under ``profiles:`` in ``switchd.yaml``. Routes
and agreements say ``NAME``, which is its newest version, or ``NAME@VERSION``.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from attrs import evolve, frozen
from pydantic import Field, TypeAdapter

from exchange.errors import ConfigurationError
from exchange.options import Strict
from exchange.ports import SM2_ID
from exchange.tokens import sm2
from exchange.yamlfile import Document, read

XML: Final = "xmldsig-enveloped"


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()  # what the customs' receivers check; by profile only


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


_DIGESTS: Final[Mapping[str, Callable[[bytes], bytes]]] = {"sha1": _sha1, "sha256": _sha256, "sm3": sm2.sm3}


@frozen
class Profile:
    """One version of one kind of signature."""

    name: str
    version: int
    format: str  # xmldsig-enveloped | raw | cms | gmt0010
    algorithm: str  # what a token is asked for: sm2-sm3 | rsa-sha1 | rsa-sha256 | ecdsa-sha256
    hash: str  # of the content: sha1 | sha256 | sm3
    method: str = ""  # how the signature names its algorithm: a URI in XML, an object identifier in CMS
    digest_method: str = ""  # how it names the digest, likewise
    detached: bool = False  # whether the signature travels beside what it signs
    encoding: str = ""  # of the value: raw (r || s) | der; RSA has one only
    sm2_id: bytes = SM2_ID
    key_name: str = "serial"  # what KeyName says: serial | subject | none

    @property
    def id(self) -> str:
        """The profile as the signing log names it: ``NAME@VERSION``."""
        return f"{self.name}@{self.version}"

    @property
    def enveloped(self) -> bool:
        """Whether the signature stands inside the document, which therefore must be XML."""
        return self.format == XML

    @property
    def suffix(self) -> str:
        """What the name of a signed file, or of the signature beside it, ends in."""
        if self.format in (XML, "raw"):
            return "" if self.enveloped else ".sig"
        return ".p7s" if self.detached else ".p7m"

    def digest(self, data: bytes) -> bytes:
        """Return the digest of *data*."""
        return _DIGESTS[self.hash](data)

    def written(self, value: bytes) -> bytes:
        """Return a token's value as signatures of this profile carry it."""
        return sm2.der_signature(value) if self.encoding == "der" else value

    def value(self, written: bytes) -> bytes:
        """Return what ``written`` was made of. Raises ValueError."""
        return sm2.raw_signature(written) if self.encoding == "der" else written


class Profiles(Mapping[str, Profile]):
    """The profiles of one installation, by every name that they may be called: ``NAME`` and ``NAME@VERSION``."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        self.all = tuple(profiles)
        in_order = sorted(self.all, key=lambda one: one.version)
        self._known = {one.name: one for one in in_order} | {one.id: one for one in in_order}
        self._accepted: dict[tuple[str, ...], tuple[Profile, ...]] = {}  # what was found before

    def __getitem__(self, name: str) -> Profile:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def named(self, name: str) -> Profile:
        """Return the profile called *name*. Raises ConfigurationError that suggests what may have been meant."""
        if name in self._known:
            return self._known[name]
        near = difflib.get_close_matches(name, self, 1)
        hint = f", did you mean {near[0]}?" if near else f"; known: {', '.join(one.id for one in self.all)}"
        raise ConfigurationError([f"unknown signature profile {name!r}{hint}"], code="SWX-4050")

    def accepted(self, names: tuple[str, ...]) -> tuple[Profile, ...]:
        """Return the profiles that an agreement accepts: those named, or every known one where none is."""
        if names not in self._accepted:
            self._accepted[names] = tuple(self.named(name) for name in names) or self.all
        return self._accepted[names]


# -- rows --------------------------------------------------------------------------------------------------------


class ProfileRow(Strict):
    """A profile as written; what its format settles by itself may be left out, and nothing else may be said of it."""

    name: str = Field(pattern=r"^[^\s/:,@*]{1,64}$", description="how routes and agreements call it")
    version: int = Field(ge=1, description="which they may add: `NAME@VERSION`; without, they mean the newest")
    format: Literal["xmldsig-enveloped", "raw", "cms", "gmt0010"] = Field(
        description="`xmldsig-enveloped`: inside the XML document; `raw`: the bare value, base64; `cms`: SignedData of "
        "RFC 5652; `gmt0010`: the same with the identifiers of GM/T 0010"
    )
    algorithm: Literal["sm2-sm3", "rsa-sha1", "rsa-sha256", "ecdsa-sha256"] = Field(
        description="what the signing device does"
    )
    method: str = Field(
        "", description="how the signature names its algorithm: a URI in XML, an object identifier in CMS (optional)"
    )
    digest: Literal["sha1", "sha256", "sm3"] | None = Field(None, description="of the document, in XML")
    digest_method: str = Field("", description="how the signature names that: a URI")
    detached: bool | None = Field(
        None, description="whether a signature in CMS travels beside what it signs; a raw one always does"
    )
    encoding: Literal["raw", "der"] | None = Field(
        None, description="of SM2 and ECDSA values in XML and raw: `raw`, which is r and s side by side, unless said"
    )
    sm2_id: str = Field("", max_length=1024, description=f"the signer's id in SM2, {SM2_ID.decode()} unless said")
    key_name: Literal["serial", "subject", "none"] | None = Field(
        None, description="what KeyName says in XML: the certificate's serial number unless said"
    )


@frozen
class _Rules:
    """What rows of one format say: beside name, version, format and algorithm, what they must and what they may."""

    algorithms: tuple[str, ...]
    must: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


_SM2, _EVERY = ("sm2-sm3",), ("sm2-sm3", "rsa-sha1", "rsa-sha256", "ecdsa-sha256")
_RULES: Final[Mapping[str, _Rules]] = {
    XML: _Rules(_EVERY, ("method", "digest", "digest_method"), ("encoding", "sm2_id", "key_name")),
    "raw": _Rules(_EVERY, (), ("encoding", "sm2_id")),
    "cms": _Rules(("rsa-sha256", "ecdsa-sha256"), (), ("method", "detached")),
    "gmt0010": _Rules(_SM2, (), ("method", "detached", "sm2_id")),
}
_ONLY: Final = {"sm2_id": _SM2, "encoding": ("sm2-sm3", "ecdsa-sha256")}  # keys that other algorithms have no use for
_METHODS: Final = {  # RFC 5754, 3.2 and 3.3; GM/T 0006
    "rsa-sha256": "1.2.840.113549.1.1.1",
    "ecdsa-sha256": "1.2.840.10045.4.3.2",
    "sm2-sm3": "1.2.156.10197.1.501",
}
_HASHES: Final = {"sha1": "1.3.14.3.2.26", "sha256": "2.16.840.1.101.3.4.2.1", "sm3": "1.2.156.10197.1.401"}
_OID: Final = r"[0-2](\.(0|[1-9][0-9]{0,17})){2,20}"
_URI: Final = r"[a-z][a-z0-9+.-]*:[!#-%'-;=?-Z_a-z~]+"  # that XML needs no escapes for


def profile(row: ProfileRow) -> Profile:
    """Return the profile that a row tells of, with what its format and algorithm settle."""
    hash = row.digest or row.algorithm.rpartition("-")[2]
    one = Profile(
        row.name, row.version, row.format, row.algorithm, hash, row.method, row.digest_method,
        detached=row.format == "raw" or bool(row.detached),
        encoding=(row.encoding or "raw") if row.algorithm in _ONLY["encoding"] else "",
        sm2_id=row.sm2_id.encode() or SM2_ID,
        key_name=row.key_name or "serial",
    )  # fmt: skip
    if row.format in (XML, "raw"):
        return one
    encoding = one.encoding and "der"
    return evolve(one, method=row.method or _METHODS[row.algorithm], digest_method=_HASHES[hash], encoding=encoding)


def mistakes(rows: Sequence[ProfileRow], document: Document, taken: Mapping[str, Profile]) -> list[str]:
    """Return all that is wrong with rows under ``profiles:`` but for their types; *taken* names can't be theirs."""
    problems: list[str] = []
    seen: set[tuple[str, int]] = set()
    for i, row in enumerate(rows):
        found = _misfits(row)
        if row.name in taken:
            found["name"] = f"{row.name!r} comes with the switch: give yours a name of its own"
        elif (row.name, row.version) in seen:
            found["version"] = f"{row.name}@{row.version} stands here twice"
        seen.add((row.name, row.version))
        told = sorted((document.place(("profiles", i, key)), key) for key in found)
        problems += [document.problem(("profiles", i, key), found[key]) for _, key in told]
    return problems


def _misfits(row: ProfileRow) -> dict[str, str]:
    """Return what doesn't fit the row's format and algorithm, by key."""
    rules = _RULES[row.format]
    found = {key: f"{row.format} needs it" for key in rules.must if not getattr(row, key)}
    said = row.model_fields_set - {"name", "version", "format", "algorithm", *rules.must, *rules.may}
    found |= dict.fromkeys(sorted(said), f"{row.format} has no use for it")
    if row.algorithm not in rules.algorithms:
        found["algorithm"] = f"{row.format} takes {' or '.join(rules.algorithms)}"
    for key, algorithms in _ONLY.items():
        if getattr(row, key) and row.algorithm not in algorithms:
            found.setdefault(key, f"{row.algorithm} has no use for it")
    return found | _misnamed(row, found)


def _misnamed(row: ProfileRow, found: Mapping[str, str]) -> dict[str, str]:
    pattern, what = (
        (_URI, "a URI") if row.format == XML else (_OID, "an object identifier, such as 1.2.156.10197.1.501")
    )
    written = {key: getattr(row, key) for key in ("method", "digest_method") if key not in found}
    return {key: f"{text!r} isn't {what}" for key, text in written.items() if text and not re.fullmatch(pattern, text)}


def _builtin() -> Profiles:
    document = read(Path(__file__).with_suffix(".yaml").read_text("utf-8"), "profiles.yaml")
    rows = TypeAdapter(list[ProfileRow]).validate_python(document.data["profiles"])
    return Profiles([profile(row) for row in rows])


PROFILES: Final = _builtin()
