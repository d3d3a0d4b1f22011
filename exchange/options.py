"""What an administrator writes: nothing unknown, paths from the folder of the file, references to secrets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, model_validator

from exchange.errors import ConfigurationError


def _at_home(path: Path, info: ValidationInfo) -> Path:
    home = (info.context or {}).get("home")
    return Path(home) / path if home else path


Location = Annotated[Path, AfterValidator(_at_home)]
"""A path that an administrator writes; a relative one starts at the folder of the file it stands in."""


class Strict(BaseModel):
    """What an administrator writes: unknown keys are mistakes, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(Strict):
    """A reference to a secret, never the secret itself: ``{file: PATH}``, ``{env: NAME}`` or ``{credential: NAME}``.

    A credential is a file in the folder that systemd passes as ``CREDENTIALS_DIRECTORY``.
    """

    file: Location | None = None
    env: str = ""
    credential: str = ""

    @model_validator(mode="before")
    @classmethod
    def _is_reference(cls, value: Any) -> Any:
        if isinstance(value, cls) or (isinstance(value, dict) and len(value) == 1):
            return value
        raise ValueError("a secret is written as a reference: {file: PATH}, {env: NAME} or {credential: NAME}")

    def read(self) -> str:
        """Return the secret. Raises ConfigurationError when what is referred to isn't there."""
        try:
            if self.env:
                return os.environ[self.env]
            path = self.file or Path(os.environ["CREDENTIALS_DIRECTORY"]) / self.credential
            return path.read_text("utf-8").rstrip("\n")
        except KeyError as why:
            raise ConfigurationError([f"secret: the environment has no {why}"]) from None
        except OSError as why:
            raise ConfigurationError([f"secret: {why.filename}: {why.strerror}"]) from None
