"""Which version of a logical key signs now. Pure: the register as a value, which a change replaces.

The life of a version::

    pending --activate--> active --retire--> retiring --revoke--> revoked
    pending, active --revoke--> revoked

An active version signs while its window lasts; of several, the one whose window began last, so that a successor can
be activated beforehand. A retiring one is only verified with, a revoked one not even that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import Final

from attrs import Factory, frozen

from exchange.errors import NotFound, TokenError
from exchange.instants import Instant, show_instant
from exchange.lifecycle import Table
from exchange.register import HELD, KeyVersion

KEY: Final[Table] = {
    "": {"create": "pending"},
    "pending": {"activate": "active", "revoke": "revoked"},
    "active": {"retire": "retiring", "revoke": "revoked"},
    "retiring": {"revoke": "revoked"},
    "revoked": {},
}


@frozen
class Keyring:
    """Every version of every key; of each key, the version that is likely to sign stands first."""

    _keys: Mapping[str, tuple[KeyVersion, ...]] = Factory(dict)

    @classmethod
    def of(cls, versions: Iterable[KeyVersion]) -> Keyring:
        """Return the ring of these versions."""
        named = groupby(sorted(versions, key=lambda version: version.name), lambda version: version.name)
        return cls({name: _ordered(group) for name, group in named})

    def changed(self, versions: Iterable[KeyVersion]) -> Keyring:
        """Return the ring with these versions added, or in place of what they were."""
        keys = dict(self._keys)
        for version in versions:
            others = (known for known in keys.get(version.name, ()) if known.number != version.number)
            keys[version.name] = _ordered([version, *others])
        return Keyring(keys)

    def __contains__(self, name: object) -> bool:
        return name in self._keys

    def rules(self, name: str) -> bool:
        """Tell whether the register says what signs for a name: from its first version on that was more than pending.

        Until then a key of that name in the settings of the token goes on signing; afterwards it never does again.
        """
        return any(version.state != "pending" for version in self._keys.get(name, ()))

    def __iter__(self) -> Iterator[KeyVersion]:
        return chain.from_iterable(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)

    def of_name(self, name: str) -> Sequence[KeyVersion]:
        """Return the versions of a key."""
        return self._keys.get(name, ())

    def version(self, id: str) -> KeyVersion:
        """Return the version ``NAME/NUMBER``. Raises NotFound."""
        for version in self._keys.get(id.rpartition("/")[0], ()):
            if version.id == id:
                return version
        raise NotFound(
            f"there is no key version {id!r}: name it as NAME/NUMBER, as switchctl key list shows it",
            f"没有密钥版本 {id!r}：请按 switchctl key list 所示写作 NAME/NUMBER",
        )

    def next_number(self, name: str) -> int:
        """Return the number of the next version of a key; none is used twice."""
        return max((version.number for version in self._keys.get(name, ())), default=0) + 1

    def current(self, name: str, at: Instant) -> KeyVersion:
        """Return the version that signs *at*. Raises TokenError that says who must do what."""
        versions = self._keys.get(name, ())
        for version in versions:
            if version.state == "active" and version.covers(at):
                return version
        raise _none(name, versions, at)

    def verifying(self, name: str) -> Sequence[KeyVersion]:
        """Return the versions that signatures of a key are verified with."""
        return [version for version in self._keys.get(name, ()) if version.state in HELD]

    def lasting(self) -> Iterator[KeyVersion]:
        """Yield, of every key that is in use, the active version that lasts longest."""
        for versions in self._keys.values():
            if active := [version for version in versions if version.state == "active"]:
                yield max(active, key=lambda version: version.not_after)


def _ordered(versions: Iterable[KeyVersion]) -> tuple[KeyVersion, ...]:
    return tuple(sorted(versions, key=lambda v: (v.state == "active", v.not_before, v.number), reverse=True))


def _none(name: str, versions: Sequence[KeyVersion], at: Instant) -> TokenError:
    """Tell why no version signs."""
    if not versions:
        return TokenError(
            f"no key {name!r}: create it with switchctl key create, or name it in the settings of the token",
            f"没有密钥 {name!r}：请用 switchctl key create 登记，或在密码设备配置中指明",
            code="SWX-5010",
        )
    if all(version.state == "revoked" for version in versions):
        return TokenError(
            f"every version of key {name!r} is revoked: create and activate a new one",
            f"密钥 {name!r} 的所有版本均已吊销：请登记并启用新版本",
            code="SWX-5042",
        )
    en, zh = zip(*(_why_not(version, at) for version in versions if version.state != "revoked"), strict=True)
    return TokenError(
        f"no version of key {name!r} can sign now: {'; '.join(en)}",
        f"密钥 {name!r} 目前没有可签名的版本：{'；'.join(zh)}",
        code="SWX-5041",
    )


def _why_not(version: KeyVersion, at: Instant) -> tuple[str, str]:
    id, start, end = version.id, show_instant(version.not_before), show_instant(version.not_after)
    if version.state == "pending":
        return f"{id} waits for switchctl key activate {id}", f"{id} 尚待启用（switchctl key activate {id}）"
    if version.state == "retiring":
        return f"{id} is retiring and signs no more", f"{id} 已退役，不再签名"
    if at < version.not_before:
        return f"{id} begins on {start}", f"{id} 自 {start} 起生效"
    return (
        f"{id} ended on {end}: create a version with a new certificate",
        f"{id} 已于 {end} 到期：请以新证书登记新版本",
    )
