"""What one attempt at a job is given beside the job."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from paploss.jobs.spec import JobSpec
from paploss.trainer.events import Emit


@dataclass(frozen=True)
class AttemptContext:
    """One try to run a job. Attempts of the same trial share the state folder."""

    state: Path
    """Folder of this trial for checkpoints, exists."""
    cache: Path | None
    """Folder for the embedded data set and for what was read of image files; None keeps nothing of these, and makes the
    data set in this user's."""
    emit: Emit
    stop_requested: Callable[[], bool]
    """Whether to stop now, with a checkpoint."""
    checkpoint_seconds: float = 60.0
    """Time between two periodic checkpoints."""
    loading_processes: int | None = None
    """Processes that load images, per device; 0 loads them between the steps, None chooses."""


def describe_start(spec: JobSpec, *, resumed: bool) -> tuple[str, ...]:
    """What people are told where a training that was to go on from another trial's checkpoint begins anew."""
    if spec.continues is None or resumed:
        return ()
    return (f"there is no checkpoint of trial {spec.continues}, which this one continues: it trains from the start",)
