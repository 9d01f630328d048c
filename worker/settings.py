"""Settings of a worker process, from options or from the environment (`PAPLOSS_STATE_DIR`, ...)."""

import os
import socket
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from paploss.jobs.logs import LogFormat
from paploss.jobs.settings import ProcessSettings


class Settings(ProcessSettings):
    """Runs trials of a Parameterized AP Loss search, one after another."""

    model_config = SettingsConfigDict(
        env_prefix="PAPLOSS_", cli_prog_name="python -m paploss.worker", cli_kebab_case=True, cli_hide_none_type=True
    )

    controller_url: str = Field("http://127.0.0.1:8080", description="address of the controller")
    key: SecretStr | None = Field(None, description="API key of role worker; better given in a file")
    key_file: Path | None = Field(None, description="file that holds the API key")
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="address of the queue")
    state_dir: Path = Field(Path("state"), description="writable volume shared by the workers")
    name: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        min_length=1,
        max_length=90,
        description="stable name, e.g. the pod's",
    )
    slots: int = Field(1, ge=1, le=64, description="trials at a time; they share the GPUs")
    gpus: tuple[int, ...] | None = Field(
        None, description="resource classes to take, as GPUs per trial; default: 0 and the number of GPUs found here"
    )
    check_gpus: bool = Field(
        True,
        description="refuse to start where a resource class of `gpus` needs more GPUs than work here; false: to try a "
        "platform out on machines without GPUs",
    )
    idle_seconds: float | None = Field(None, gt=0, description="end when nothing came for so long; default: never")
    grace_seconds: float = Field(20, gt=0, description="time that a trainer has to leave a checkpoint when stopped")
    crash_pause_seconds: float = Field(
        600,
        ge=0,
        description="longest wait where trainings of different trials crash before their first step, so that other "
        "machines take them; 0: never wait, for a machine that is the only one",
    )
    trainer_command: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="program and arguments that train jobs of the profile `command`, as a JSON list; each attempt is "
        "started as this, JOB --state FOLDER",
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: LogFormat = "json"

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        if (self.key is None) == (self.key_file is None):
            raise ValueError("key, key_file: expected one of them (PAPLOSS_KEY, PAPLOSS_KEY_FILE)")
        if self.key_file is not None and not os.access(self.key_file, os.R_OK):
            raise ValueError(f"key_file: cannot read {self.key_file}")
        return self

    @property
    def api_key(self) -> SecretStr:
        """The key, from wherever it was given."""
        if self.key is not None:
            return self.key
        return SecretStr(self.key_file.read_text(encoding="utf-8-sig").strip() if self.key_file else "")
