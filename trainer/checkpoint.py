"""Checkpoints, from which an interrupted training resumes: one file, replaced as a whole."""

import logging
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from paploss.files import whole_file
from paploss.trainer.errors import UserError

log = logging.getLogger(__name__)

FILE_NAME = "checkpoint.pt"


@dataclass
class TrainingProgress:
    """What a training has behind it, beside the tensors. All plain numbers, strings, lists and dicts."""

    job: str
    """The job as JSON without what may differ between attempts; a checkpoint of another job is refused."""
    iteration: int = 0
    seconds: float = 0.0
    """Time spent so far, over all attempts."""
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    """`{"iteration": int, "metrics": Metrics as a dict}`, ascending."""
    failures: dict[str, int] = field(default_factory=dict)
    """Consecutive failed steps per head."""


def save_checkpoint(folder: Path, progress: TrainingProgress, states: dict[str, Any]) -> Path:
    """Replaces the checkpoint in `folder`.

    Args:
        folder: the trial's state folder.
        progress: counters.
        states: state dicts by name ("model", "optimizer").
    """
    path = folder / FILE_NAME
    with whole_file(path) as file:
        torch.save({"progress": asdict(progress), **states}, file)
    return path


def load_checkpoint(folder: Path, job: str) -> tuple[TrainingProgress, dict[str, Any]] | None:
    """Progress and state dicts of the checkpoint in `folder`, or None where there is none that is whole.

    Raises:
        UserError: the checkpoint is of another job.
        OSError, MemoryError: it cannot be read now.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        stored = content.pop("progress")
        progress = TrainingProgress(**{name.name: stored[name.name] for name in fields(TrainingProgress)})
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch raises errors of many kinds; each later attempt would meet them again
        if "DefaultCPUAllocator" in str(error):
            raise MemoryError(str(error)) from error
        log.warning("%s is damaged, the training starts anew: %s", path, error)
        return None
    if progress.job != job:
        raise UserError(f"{path}: belongs to another job; expected an empty folder or this job's own")
    return progress, content
