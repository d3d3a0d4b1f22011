"""Signing devices to test with: SoftHSM tokens, and our own device with the interface of GM/T 0018.

Each test has tokens of its own; the keys are those of ``tests.pki``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from exchange.signing.devices import Devices
from tests import pki
from tests.sealing import require

PIN = "246813"
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
SOFTHSM_KEYS = {"rsa": "01", "p256": "02"}
SDF_KEYS = {"sm2": 3, "rsa": 1}


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


@cache
def _library() -> Path:
    """Compile the test device, once."""
    require("gcc")
    if not Path("/usr/include/openssl/evp.h").exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("libssl-dev is missing; 'make test' installs it")
    path = Path(tempfile.mkdtemp(prefix="sdf-")) / "libsdfdevice.so"
    source = Path(__file__).parent / "sdf_device.c"
    _run("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", source, "-o", path, "-lcrypto")
    return path


class SoftHsm:
    """SoftHSM tokens in *folder*; every one holds the same keys."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *tokens: str) -> None:
        require("softhsm2-util")
        self.folder = folder / "softhsm"
        (self.folder / "tokens").mkdir(parents=True)
        config = self.folder / "softhsm2.conf"
        config.write_text(
            f"directories.tokendir = {self.folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        monkeypatch.setenv("SOFTHSM2_CONF", str(config))
        for token in tokens:
            _run("softhsm2-util", "--init-token", "--free", "--label", token, "--pin", PIN, "--so-pin", PIN)
            for name, id in SOFTHSM_KEYS.items():
                plain = self.folder / f"{name}.p8"
                _run("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", pki.shared() / f"{name}.key", "-out", plain)
                place = ("--token", token, "--label", name, "--id", id, "--pin", PIN)
                _run("softhsm2-util", "--import", plain, *place)

    @staticmethod
    def row(token: str, **more: Any) -> dict[str, Any]:
        """Return the settings of a token."""
        return {"kind": "pkcs11", "module": MODULE, "token": token, "pin": {"env": "HSM_PIN"}, **more}


class SdfDevice:
    """The test device with its keys in *folder*; *misbehave* says how the next calls go wrong."""

    def __init__(self, folder: Path, name: str = "sdf") -> None:
        self.module, self.folder = _library(), folder / name
        self.folder.mkdir()
        for name, index in SDF_KEYS.items():
            shutil.copy(pki.shared() / f"{name}.key", self.folder / f"{name}-{index}.pem")
        (self.folder / "pin").write_text(PIN)

    def misbehave(self, how: str) -> None:
        """Write the fault file; an empty word mends the device."""
        (self.folder / "fault").write_text(how)

    def row(self, **more: Any) -> dict[str, Any]:
        """Return the device's settings."""
        return {"kind": "sdf", "module": self.module, "folder": self.folder, "pin": {"env": "HSM_PIN"}, **more}


def devices(rows: dict[str, dict[str, Any]], keys: dict[str, dict[str, str]], **more: Any) -> Devices:
    """Return a token over devices; *keys* says where each key is."""
    os.environ["HSM_PIN"] = PIN
    places = {key: {"certificate": pki.shared() / f"{key}.crt", "at": at} for key, at in keys.items()}
    settings = {"devices": rows, "keys": places, **more}
    return Devices(Devices.Settings.model_validate(settings, context={"home": Path("/")}))
