"""``switchd.yaml``: how one installation runs. Every setting has a default; every mistake is told at once.

Relative paths start at the folder of the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from attrs import frozen
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, field_validator, model_validator

from exchange import plugins
from exchange.errors import ConfigurationError
from exchange.options import Strict
from exchange.signing._api_settings import ApiSettings
from exchange.signing.profiles import PROFILES, ProfileRow, Profiles, mistakes, profile
from exchange.yamlfile import Document, read

MEBIBYTE = 1024 * 1024


class StoreSettings(Strict):
    """Where messages are kept, and for how long."""

    kind: str = "sqlite"
    folder: Path = Path("var/store")
    retention_days: int = Field(90, ge=1)
    duplicate_days: int = Field(30, ge=1)
    reserve_bytes: int = Field(256 * MEBIBYTE, ge=0)  # free space below which intake is closed


class TokenSettings(Strict):
    """What signs. Keys in files are for tests and demonstrations, and must be allowed by name."""

    kind: str = "software"
    allow_software_keys: bool = False
    options: dict[str, Any] = Field(default_factory=dict)


class SigningSettings(Strict):
    """Who may change what signs, and who may have things signed from outside."""

    dual_control: bool = Field(
        True,
        description="keys, software keys and a site's profiles change only when a second person approves; "
        "`false`, for demonstrations, does at once what one person asks for",
    )
    api: ApiSettings | None = Field(None, description="the remote signing API; left out, there is none")


class TimestampSettings(Strict):
    """A time stamping authority (RFC 3161), asked at each export of evidence."""

    url: str = Field(description="its address", pattern="^https?://")
    ca: Path | None = Field(None, description="certificates (PEM) of who vouches for it; without, any is taken")


class EvidenceSettings(Strict):
    """What the manifest of an evidence file is signed with, and who stamps it with the time."""

    key: str = Field("", description="key that the token signs the manifest with; without, it isn't signed")
    profile: str = Field("", description="signature profile for that: one for XML, of the switch's own")
    timestamp: TimestampSettings | None = Field(None, description="time stamping authority (RFC 3161)")

    @model_validator(mode="after")
    def _together(self) -> Self:
        if bool(self.key) != bool(self.profile):
            raise ValueError("key and profile go together")
        return self

    @field_validator("profile")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            if name and not PROFILES.named(name).enveloped:
                raise ValueError(f"{name} doesn't sign XML, and the manifest's statement is XML")
        except ConfigurationError as why:
            raise ValueError(str(why.problems[0])) from None
        return name


class MonitorSettings(Strict):
    """Where /metrics, /livez and /readyz are served; port 0 leaves them out."""

    host: str = "127.0.0.1"
    port: int = Field(9464, ge=0, le=65535)


class LogSettings(Strict):
    """What is logged, and where: one JSON object a line, to standard error unless a file is named."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    file: Path | None = None


class LimitSettings(Strict):
    """How much is taken on."""

    payload_bytes: int = Field(64 * MEBIBYTE, ge=1)
    spool_bytes: int = Field(256 * 1024, ge=1024)
    backlog: int = Field(20_000, ge=1)
    backlog_bytes: int = Field(128 * MEBIBYTE, ge=1)
    unsigned: int = Field(
        5_000, ge=1, description="messages of one party that wait to be signed; over it, that party is asked to wait"
    )


class ListSettings(Strict):
    """Where an authority's revocation list comes from: a file or an address."""

    file: Path | None = Field(None, description="DER or PEM, read at start and at SIGHUP; either this or `url`")
    url: str = Field("", description="`http` or `https`; fetched in the background, the last good list is kept")
    every_hours: float = Field(24.0, gt=0, description="how often `url` is fetched; after a failure, in ten minutes")

    @field_validator("url")
    @classmethod
    def _can_be_fetched(cls, url: str) -> str:
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise ValueError("only http and https are fetched; import lists from elsewhere (LDAP) as files")
        return url

    @model_validator(mode="after")
    def _is_one(self) -> ListSettings:
        if bool(self.file) == bool(self.url):
            raise ValueError("name either 'file' or 'url'")
        return self


class TrustSettings(Strict):
    """An authority that stands behind certificates."""

    certificates: tuple[Path, ...] = Field(min_length=1, description="PEM or DER files: its roots and intermediates")
    crl: tuple[ListSettings, ...] = Field(
        (),
        description="where its revocation lists come from: rows `{file: PATH}` or `{url: ADDRESS, every_hours: 24}`, "
        "http or https; lists in LDAP are imported as files",
    )
    require_crl: bool = Field(False, description="refuse signers while no list of their issuer is here (SWX-1105)")
    overdue: Literal["warn", "hold"] = Field(
        "warn",
        description="while a list is overdue, messages pass with a warning and an alarm, or are held (SWX-1102)",
    )


Folders = Annotated[  # one may stand without brackets
    tuple[Path, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]


class Settings(Strict):
    """The whole file."""

    routes: Path = Path("routes.yaml")
    schemas: Folders = ()  # of a site's own message types, beside ours; of two of the same name the later wins
    control: Path = Path("var/switchctl.sock")
    control_group: str = Field(
        "",
        description="Unix group whose members may use `switchctl`, too; dual control tells persons by their accounts",
    )
    spool: Path = Path("var/spool")
    store: StoreSettings = StoreSettings()
    token: TokenSettings = TokenSettings()
    signing: SigningSettings = SigningSettings()
    profiles: tuple[ProfileRow, ...] = Field(
        (),
        description="signature profiles of the site's own, beside those of the switch: [profiles](profiles.md); "
        "under dual control in force once approved (`switchctl change submit profiles`)",
    )
    evidence: EvidenceSettings = EvidenceSettings()
    monitor: MonitorSettings = MonitorSettings()
    log: LogSettings = LogSettings()
    limits: LimitSettings = LimitSettings()
    trust: dict[str, TrustSettings] = Field(
        default_factory=dict, description="authorities that stand behind certificates, by the name that agreements use"
    )
    revocations: Path = Field(
        Path("var/crl"), description="folder for the revocation lists that were fetched or imported"
    )
    adapters: dict[str, dict[str, Any]] = Field(default_factory=dict)  # kind -> its own settings


_ROWS: Final = TypeAdapter(tuple[ProfileRow, ...])


@frozen(slots=False)
class Installation:
    """Settings with what they refer to: absolute paths, and the settings of every adapter kind."""

    home: Path
    settings: Settings
    document: Document

    def path(self, path: Path) -> Path:
        """Return *path* as an absolute one."""
        return (self.home / path).resolve()

    @property
    def schemas(self) -> tuple[Path, ...]:
        """Return the folders of a site's own message types."""
        return tuple(self.path(folder) for folder in self.settings.schemas)

    @cached_property
    def profiles(self) -> Profiles:
        """Return the signature profiles of the switch and of the site."""
        return _beside_ours(self.settings.profiles)

    def profiles_of(self, rows: Any) -> Profiles:
        """Return those of the switch, and of a section ``profiles`` as it is written. Raises ConfigurationError."""
        try:
            site = _ROWS.validate_python(rows or ())
        except ValidationError as why:
            raise ConfigurationError([f"profiles: {error['msg']}" for error in why.errors()]) from None
        return _beside_ours(site)

    def adapter(self, kind: str) -> Any:
        """Return the settings of an adapter kind. Raises ConfigurationError."""
        model = plugins.load("adapters", kind).Settings
        try:
            return model.model_validate(self.settings.adapters.get(kind, {}), context={"home": self.home})
        except ValidationError as why:
            raise ConfigurationError(self.document.problems(why, model, ("adapters", kind))) from None

    @property
    def agreed(self) -> dict[str, Any]:
        """Return the sections that take effect only when two persons agreed on them, as they are written."""
        written: dict[str, Any] = self.document.data or {}
        allowed = self.settings.token.kind == "software" and self.settings.token.allow_software_keys
        return {name: written.get(name) for name in ("profiles", *["token"] * allowed)}

    def token(self) -> Any:
        """Return the token, ready to sign. Raises ConfigurationError."""
        asked = self.settings.token
        if asked.kind == "software" and not asked.allow_software_keys and asked.options:
            text = "keys in files are for tests: set allow_software_keys: true to use them all the same"
            raise ConfigurationError([self.document.problem(("token",), text)])
        token = plugins.load("tokens", asked.kind)
        try:
            return token(token.Settings.model_validate(asked.options, context={"home": self.home}))
        except ValidationError as why:
            problems = self.document.problems(why, token.Settings, ("token", "options"))
            raise ConfigurationError(problems) from None


def _beside_ours(rows: Iterable[ProfileRow]) -> Profiles:
    return Profiles([*PROFILES.all, *map(profile, rows)])


def load(path: Path | None) -> Installation:
    """Read *path*; None means ``switchd.yaml`` here if there is one, else every default.

    Raises ConfigurationError with every mistake.
    """
    if path is None and Path("switchd.yaml").exists():
        path = Path("switchd.yaml")
    if path is None:
        return Installation(Path.cwd(), Settings(), read("", "switchd.yaml"))
    try:
        document = read(path.read_text("utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as why:
        raise ConfigurationError([f"{path}:1:1: can't be read: {getattr(why, 'strerror', why)}"]) from None
    try:
        home = {"home": path.resolve().parent}
        settings = Settings.model_validate({} if document.data is None else document.data, context=home)
    except ValidationError as why:
        raise ConfigurationError(document.problems(why, Settings)) from None
    installation = Installation(path.resolve().parent, settings, document)
    problems = mistakes(settings.profiles, document, PROFILES)
    for section, chosen in (("store", settings.store.kind), ("token", settings.token.kind)):
        try:
            plugins.load(f"{section}s", chosen)
        except ConfigurationError as why:
            problems += [document.problem((section, "kind"), p) for p in why.problems]
    for kind in settings.adapters:
        try:
            installation.adapter(kind)
        except ConfigurationError as why:
            place = document.problem(("adapters", kind), "")
            problems += [p if p.startswith(path.name) else place + p for p in why.problems]
    if problems:
        raise ConfigurationError(problems)
    return installation
