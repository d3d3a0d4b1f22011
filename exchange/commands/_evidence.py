"""Writing evidence out of a store beside a running switch or without one, and checking it anywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from attrs import define, field

from exchange.commands import _output
from exchange.commands._daemon import ask
from exchange.commands._offline import installed, past_of, types_of
from exchange.errors import NotFound, Refused
from exchange.evidence import stamps, verifying
from exchange.evidence.findings import CHECKS, FAILED, OUTCOMES, Check
from exchange.evidence.gathering import Sign, write
from exchange.instants import read_id
from exchange.settings import Installation
from exchange.signing.certificates import from_file

NO_SWITCH = "SWX-7040"
NONE = "none"


@define
class _Signer:
    """Has the running switch sign the manifest, where the site names a key for that."""

    message: str
    installation: Installation
    because: dict[str, str] = field(factory=dict)  # why it isn't signed

    def __call__(self, manifest: bytes) -> bytes:
        if not self.installation.settings.evidence.key:
            self.because = {"en": "evidence.key in switchd.yaml names no key", "zh": "switchd.yaml 未配置 evidence.key"}
            return b""
        try:
            signed: str = ask("evidence.sign", message=self.message, digest=sha256(manifest).hexdigest())
        except _output.Failure as why:
            if why.told["code"] != NO_SWITCH:
                raise
            self.because = {"en": str(why.told["en"]), "zh": str(why.told["zh"])}
            return b""
        return signed.encode()


def exported(id: str, out: Path, timestamp: str) -> dict[str, Any]:
    """Write the evidence of a message to *out*. Raises NotFound, Refused, StoreError, and what signing raises."""
    installation = installed()
    signer = _Signer(id, installation)
    stamp = _authority(installation, timestamp)
    part = out.with_name(f"{out.name}.part")
    try:
        with past_of(installation) as past, part.open("w+b") as file:
            manifest = write(past, _message(id), file, signer, stamp)
            file.flush()
            os.fsync(file.fileno())
        size = part.stat().st_size
        part.replace(out)
    except OSError as why:
        raise Refused(
            f"{why.filename or out}: {why.strerror}", f"{why.filename or out}：无法写入（{why.strerror}）"
        ) from why
    finally:
        part.unlink(missing_ok=True)
    return {
        "message": manifest.message,
        "file": str(out),
        "bytes": size,
        "entries": len(manifest.entries),
        "signed": bool(manifest.signature),
        "unsigned_because": signer.because,
        "stamped": bool(manifest.timestamp),
    }


def _authority(installation: Installation, url: str) -> Sign | None:
    """Return who stamps the manifest: at *url*, or as the settings say where that is empty."""
    asked = installation.settings.evidence.timestamp
    if url == NONE or not (url or asked):
        return None
    if asked is None or url not in ("", asked.url):
        return stamps.Authority(url)
    roots = _certificates(installation.path(asked.ca)) if asked.ca else ()
    return stamps.Authority(asked.url, roots)


def _message(id: str) -> int:
    try:
        return read_id(id)
    except ValueError as why:
        raise NotFound(str(why), f"{id!r} 不是报文编号（格式 YYYYMMDD-N）") from None


def verified(file: Path, trust: Sequence[Path], head: str) -> dict[str, Any]:
    """Check an evidence file. Raises NotFound; ConfigurationError where a certificate to trust can't be read."""
    trusted = [der for path in trust for der in _certificates(path)]
    if not file.is_file():
        raise NotFound(f"there is no file {file}", f"没有文件 {file}")
    checks = verifying.verify(file, types_of(installed()), trusted, head)
    return {
        "file": str(file),
        "passed": all(one.outcome != FAILED for one in checks),
        "checks": [_shown(one) for one in checks],
    }


def _certificates(path: Path) -> Sequence[bytes]:
    """Return the certificates in a file, in DER. Raises NotFound, ConfigurationError."""
    try:
        return from_file(path.read_bytes())
    except OSError as why:
        raise NotFound(f"{path} can't be read: {why.strerror}", f"{path} 无法读取：{why.strerror}") from why


def _shown(one: Check) -> dict[str, str]:
    _, en, zh = CHECKS[one.name]
    return {
        "check": one.name,
        "check_en": en,
        "check_zh": zh,
        "outcome": one.outcome,
        "outcome_zh": OUTCOMES[one.outcome],
        "subject": one.subject,
        "code": one.code,
        "en": one.en,
        "zh": one.zh,
    }
