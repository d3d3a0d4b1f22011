"""The keys of a token whose keys are elsewhere: what the settings say, and what was learned since."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field, field_validator

from exchange import plugins
from exchange.errors import ConfigurationError, TokenError
from exchange.options import Location, Strict
from exchange.ports import Job
from exchange.register import KeyVersion, learn
from exchange.signing import certificates
from exchange.signing.certificates import Certificate
from exchange.tokens.device import DeviceSettings


class KeyPlaces(Strict):
    """One key: its certificate (PEM or DER), and where it is on each device that has it."""

    certificate: Location = Field(description="its certificate, PEM or DER")
    at: Mapping[str, str] = Field(description="where it is on each device: `pkcs11:id=%01` (RFC 7512), `sdf:3`")


class DevicesSettings(Strict):
    """Which devices there are, and which keys are on them."""

    devices: Mapping[str, DeviceSettings] = Field(description="the devices by name; each kind has more, below")
    keys: Mapping[str, KeyPlaces] = Field({}, description="the keys by name, as parties and routes call them")
    check_sm2_every: int = Field(
        1, ge=1, description="verify every so many SM2 signatures of a key (half a millisecond each); all others always"
    )

    @field_validator("devices", mode="before")
    @classmethod
    def _of_their_kinds(cls, rows: Any, info: Any) -> Any:
        if not isinstance(rows, dict):
            return rows
        return {name: _settings(name, row, info.context) for name, row in rows.items()}


def _settings(name: str, row: Any, context: Any) -> Any:
    if not isinstance(row, dict) or "kind" not in row:
        raise ValueError(f"device {name!r} must say of which kind it is ({', '.join(plugins.names('devices'))})")
    try:
        kind = plugins.load("devices", row["kind"])
    except ConfigurationError as why:
        raise ValueError(why.problems[0]) from None
    return kind.Settings.model_validate(row, context=context)


class Keys:
    """Every key that a job may name: where it is, and its certificate."""

    def __init__(self, configured: Mapping[str, KeyPlaces], devices: Collection[str]) -> None:
        self._configured, self._devices = configured, devices
        self._learned: dict[str, KeyVersion] = {}
        self._read: dict[str, Certificate] = {}
        if unknown := sorted({d for k in configured.values() for d in k.at} - set(devices)):
            raise ConfigurationError([f"token: keys are said to be on devices that aren't there: {', '.join(unknown)}"])

    def learn(self, versions: Iterable[KeyVersion]) -> None:
        """See ``register.Learner``."""
        learn(self._learned, versions)

    def names(self) -> Sequence[str]:
        """See ``register.Learner``."""
        return sorted(self._configured)

    def at(self, key: str) -> Mapping[str, str]:
        """Return where a key is on each device; nowhere, if it isn't known any more."""
        if (version := self._learned.get(key)) is not None:
            return {device: place for device, place in version.places.items() if device in self._devices}
        return self._configured[key].at if key in self._configured else {}

    def on(self, device: str) -> Iterator[str]:
        """Yield the keys on a device, those of the settings first."""
        yield from (key for key, places in self._configured.items() if device in places.at)
        yield from (key for key, version in list(self._learned.items()) if device in version.places)

    def certificate(self, key: str) -> Certificate:
        """Return the certificate of a key. Raises TokenError, ConfigurationError."""
        if (version := self._learned.get(key)) is not None:
            return certificates.read(version.certificate)
        if key not in self._read:
            self._read[key] = self._from_file(key)
        return self._read[key]

    def fitting(self, job: Job) -> Certificate:
        """Return the certificate of a key that can do a job. Raises TokenError, ConfigurationError."""
        certificate = self.certificate(job.key)
        if job.algorithm not in certificates.ALGORITHMS or not certificates.fits(certificate, job.algorithm):
            raise unfit(job, "the certificate's key is of another kind")
        return certificate

    def _from_file(self, key: str) -> Certificate:
        places = self._configured.get(key)
        if places is None:
            raise TokenError(
                f"no key {key!r}: name it, its certificate and its places in the settings of the token",
                f"没有密钥 {key!r}：请在密码设备配置中登记其名称、证书和位置",
                code="SWX-5010",
            )
        try:
            (der, *_) = certificates.from_file(places.certificate.read_bytes())
        except OSError as why:
            raise ConfigurationError([f"{places.certificate}: {why.strerror}"]) from why
        return certificates.read(der)


def unfit(job: Job, why: str) -> TokenError:
    """Return the error of a job that its key can't do, wherever it is."""
    return TokenError(
        f"key {job.key!r} can't sign {job.algorithm!r}: {why}",
        f"密钥 {job.key!r} 不能用于 {job.algorithm!r} 签名：{why}",
        code="SWX-5020",
    )
