"""TensorBoard: a folder of event files for each experiment, in it one for each trial, and one for the verdict."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from paploss.client.models import ExperimentSummary
from paploss.mirror.mirror import TargetError, Written
from paploss.mirror.records import EndRecord, TrialRecord

_VERDICT: Final = "verdict"
_UNSAFE: Final = re.compile(r"[^\w.-]+")
_PARTIAL: Final = ".partial"
"""Where a run is written, before it gets its name whole."""
_MOST_BYTES: Final = 255
"""Of a folder's name, on nearly every file system."""


class TensorBoardTarget:
    """A folder that `tensorboard --logdir` shows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def name(self) -> str:
        """For people."""
        return "TensorBoard"

    def find_written(self, experiment: ExperimentSummary) -> Written:
        """Trials whose folders are there."""
        with self._translated():
            own = self._folder / _name(experiment)
            names = {run.name for run in own.iterdir()} if own.is_dir() else set()
        return Written(frozenset(names - {_VERDICT, _PARTIAL}), _VERDICT in names)

    def write_trial(self, experiment: ExperimentSummary, trial: TrialRecord) -> None:
        """Add a run with scalars by iteration, and its parameters with what came of them (the tab HParams)."""
        with self._run(experiment, trial.id) as writer:
            for iteration, measured in trial.course:
                for name, value in measured.items():
                    writer.add_scalar(name, value, iteration, trial.ended_at)
            # Not by `add_hparams`, which makes a run of its own for them.
            for summary in hparams(dict(trial.parameters), trial.course[-1][1]):
                writer.file_writer.add_summary(summary)
            tags = "".join(f"    {name}: {value}\n" for name, value in trial.tags.items())
            writer.add_text("trial", tags, 0, trial.ended_at)

    def write_end(self, experiment: ExperimentSummary, end: EndRecord) -> None:
        """Add the run `verdict`, with its files beside the events."""
        with self._run(experiment, _VERDICT) as writer:
            writer.add_text("verdict", end.sentence, 0, end.ended_at)
            for name, value in end.metrics.items():
                writer.add_scalar(name, value, 0, end.ended_at)
            for file, text in end.files.items():
                (Path(writer.logdir) / file).write_text(text, encoding="utf-8")

    @contextmanager
    def _run(self, experiment: ExperimentSummary, name: str) -> Iterator[SummaryWriter]:
        """A writer whose folder gets its name once all is in it."""
        own = self._folder / _name(experiment)
        partial = own / _PARTIAL
        with self._translated():
            shutil.rmtree(partial, ignore_errors=True)
            with SummaryWriter(str(partial)) as writer:
                yield writer
            partial.rename(own / name)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TargetError(f"{self._folder}: cannot write: {error.strerror}") from error


def _name(experiment: ExperimentSummary) -> str:
    """Of its folder: the id, by which folders are in the order of time, and the name for people, as far as it fits."""
    name = f"{experiment.id} {_UNSAFE.sub('-', experiment.name)}".strip()
    return name.encode()[:_MOST_BYTES].decode(errors="ignore")
