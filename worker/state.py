"""The state volume: what attempts leave behind for their successors, on a folder that all workers share.

    STATE/trials/<trial>/<attempt>-<token's first 8 digits>/
        job.json        the job as claimed
        training/       the trainer's own: checkpoints, and final weights of a final training
        trainer.log     its standard error, and what it printed besides events
        result.json     the `ResultRequest`, kept until the controller has answered it, and after
        answered.json   the controller's answer to it

No attempt writes into another's folder. A successor starts from hard links (copies, where the volume has none) to its
predecessor's checkpoint, or to that of the shorter trial that is continued; since files are only ever replaced whole,
a predecessor that still runs without knowing that it lost its lease changes its own names and never the bytes that its
successor reads. Two attempts of one number, which a restored database can bring about, differ by their token.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from paploss.files import write_whole
from paploss.jobs.lease import Lease, ResultRequest
from paploss.jobs.spec import TRIAL_ID_PATTERN, JobSpec

_TRIAL_ID = re.compile(TRIAL_ID_PATTERN)
FINAL_STATES = frozenset({"succeeded", "pruned", "failed", "cancelled"})

_PROBE_BYTES = 1 << 16


@dataclass(frozen=True)
class AttemptFolder:
    """The files of one attempt."""

    path: Path

    @property
    def job_file(self) -> Path:
        """The job, for the trainer to read."""
        return self.path / "job.json"

    @property
    def training(self) -> Path:
        """The folder that the trainer writes to."""
        return self.path / "training"

    @property
    def log_file(self) -> Path:
        """What the trainer had to say to people."""
        return self.path / "trainer.log"

    @property
    def result_file(self) -> Path:
        """The result, as it is to be delivered."""
        return self.path / "result.json"

    @property
    def answer_file(self) -> Path:
        """The controller's answer to the result."""
        return self.path / "answered.json"

    def job(self) -> JobSpec | None:
        """The attempt's job; None where it cannot be read."""
        try:
            return JobSpec.model_validate_json(self.job_file.read_bytes())
        except (OSError, ValidationError):
            return None

    def result(self) -> ResultRequest | None:
        """The attempt's result; None while there is none, or none that can be read."""
        try:
            return ResultRequest.model_validate_json(self.result_file.read_bytes())
        except (OSError, ValidationError):
            return None

    def write_result(self, request: ResultRequest) -> None:
        """Keep a result before it is delivered."""
        write_whole(self.result_file, request.model_dump_json(indent=1))

    def write_answer(self, answer: str) -> None:
        """Note that the controller has answered, so that the result is not delivered again."""
        write_whole(self.answer_file, answer)


class StateVolume:
    """The folder of all trials."""

    def __init__(self, root: Path) -> None:
        """Raises OSError where `root` can neither be made nor written."""
        self._trials = root / "trials"
        self._trials.mkdir(parents=True, exist_ok=True)

    def check(self) -> None:
        """Write something, which nobody sees. Raises OSError where that is not possible now: full, or read-only."""
        with tempfile.TemporaryFile(dir=self._trials) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())

    def open_attempt(self, lease: Lease) -> AttemptFolder:
        """Make the attempt's folder, with its job and with its predecessor's checkpoint where there is one.

        Without one of this trial, it is that of the trial which this one continues.
        """
        name = f"{lease.attempt:04d}-{lease.token[:8]}"
        predecessors = [
            *(other for other in self._attempts(lease.job.continues) if _is_continued(other.job(), lease.job)),
            *(other for other in self._attempts(lease.trial_id) if _same_training(other.job(), lease.job)),
        ]
        folder = AttemptFolder(self._trials / lease.trial_id / name)
        # Made beside and renamed: killed in the middle, this attempt must not leave its successor half of the files.
        beside = folder.path / ".training"
        beside.mkdir(parents=True, exist_ok=True)
        write_whole(folder.job_file, lease.job.model_dump_json(indent=1))
        for predecessor in reversed(predecessors):
            if _carry_over(predecessor.training, beside):
                break
        beside.rename(folder.training)
        return folder

    def finished_result(self, lease: Lease) -> ResultRequest | None:
        """A reward that an earlier attempt of the same training reached and that never counted; None without one."""
        for folder in self._attempts(lease.trial_id):
            request = folder.result()
            if request and request.result.reward is not None and _same_training(folder.job(), lease.job):
                return request
        return None

    def undelivered(self) -> Iterator[AttemptFolder]:
        """Attempts with a result that has no answer yet."""
        for trial in sorted(self._trials.iterdir()):
            for folder in self._attempts(trial.name):
                if folder.result_file.exists() and not folder.answer_file.exists():
                    yield folder

    def trial_ids(self) -> list[str]:
        """Trials that have files here."""
        return sorted(path.name for path in self._trials.iterdir() if path.is_dir() and _TRIAL_ID.match(path.name))

    def remove(self, trial_id: str) -> None:
        """Remove all that a trial left here. For a trial in a final state whose files nobody needs."""
        shutil.rmtree(self._trials / trial_id, ignore_errors=True)

    def _attempts(self, trial_id: str | None) -> list[AttemptFolder]:
        if trial_id is None:
            return []
        try:
            return [AttemptFolder(path) for path in sorted((self._trials / trial_id).iterdir())]
        except (FileNotFoundError, NotADirectoryError):
            return []


def _same_training(one: JobSpec | None, other: JobSpec) -> bool:
    """Whether two jobs are one training, whatever their pruning and their timeout."""
    neutral = {"prune": (), "timeout_seconds": None}
    return one is not None and one.model_copy(update=neutral) == other.model_copy(update=neutral)


def _is_continued(shorter: JobSpec | None, job: JobSpec) -> bool:
    """Whether a job carries another trial's training on."""
    if shorter is None or shorter.length >= job.length:
        return False
    own = {"trial_id": job.trial_id, "length": job.length, "continues": job.continues}
    return _same_training(shorter.model_copy(update=own), job)


def _carry_over(source: Path, target: Path) -> bool:
    """Link the whole files of `source` into the empty folder `target`; whether there were any."""
    carried = False
    for path in sorted(source.rglob("*")) if source.is_dir() else ():
        if path.name.startswith(".") or not path.is_file():  # dot files are not whole yet
            continue
        into = target / path.relative_to(source)
        into.parent.mkdir(parents=True, exist_ok=True)
        try:
            into.hardlink_to(path)
        except FileNotFoundError:  # a predecessor that still runs has just replaced it
            continue
        except OSError:
            shutil.copy2(path, into)
        carried = True
    return carried
