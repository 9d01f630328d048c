"""Pools of elastic workers, as the operator describes them: how many, for which trials, and as what kind of Job."""

import hashlib
import json
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from paploss.controller.scaling.errors import PoolsError


class Pool(BaseModel):
    """Workers of one resource class, each a Job of one pod."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$")
    gpus: int = Field(ge=0, description="the resource class: GPUs of one trial")
    slots: int = Field(1, ge=1, description="trials that one worker runs at a time")
    minimum: int = Field(0, ge=0, description="workers that are kept although there is nothing to do")
    maximum: int = Field(ge=0, description="never more workers than this")
    job: dict[str, Any] = Field(description="manifest of the Job, without a name")

    @property
    def template(self) -> str:
        """Digest of the manifest, which tells Jobs made from it from those of an earlier one."""
        return hashlib.sha256(json.dumps(self.job, sort_keys=True).encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum: expected at most maximum ({self.maximum}), got {self.minimum}")
        return self


class Pools(BaseModel):
    """All pools of one release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str
    prefix: str = Field(max_length=30, description="what the names of the Jobs begin with")
    owner: str = Field(description="ConfigMap of this namespace that owns the Jobs: they end when it is deleted")
    labels: dict[str, str] = Field(min_length=1, description="what tells these Jobs from all others")
    keep_ended_seconds: float = Field(3600, ge=0, description="how long ended Jobs stay, with their pods' logs")
    pools: tuple[Pool, ...]

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [pool.name for pool in self.pools]
        if len(set(names)) < len(names):
            raise ValueError(f"pools: expected names that differ, got {names}")
        return self


def read_pools(file: Path) -> Pools:
    """The pools described in a YAML file.

    Raises:
        PoolsError: the file cannot be read, or a field is wrong.
    """
    try:
        return Pools.model_validate(yaml.safe_load(file.read_bytes()))
    except (OSError, yaml.YAMLError) as error:
        raise PoolsError(f"worker_pools_file {file}: {error}") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise PoolsError(f"worker_pools_file {file}: {'; '.join(faults)}") from None
