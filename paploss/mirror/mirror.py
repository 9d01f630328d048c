"""Which trials a target lacks, and writing them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from paploss.client.comparison import write_csv
from paploss.client.errors import ApiError
from paploss.client.models import Best, ExperimentDetail, ExperimentSummary
from paploss.client.states import FINAL_EXPERIMENT_STATES, OPEN_TRIAL_STATES
from paploss.client.sync_client import Client
from paploss.controller.report import gather, render
from paploss.mirror.records import EndRecord, TrialRecord, describe_end, describe_trial


class TargetError(Exception):
    """A target cannot be written to; one line for people."""


@dataclass(frozen=True)
class Written:
    """What a target has of an experiment."""

    trials: frozenset[str] = frozenset()
    """Their ids."""
    is_ended: bool = False
    """Whether it has the end, which comes last."""


class Target(Protocol):
    """A place for runs. Every method raises TargetError where it cannot be reached, or refuses.

    What was written in part, because the program was killed, counts as not written, and is written anew without a
    second run.
    """

    @property
    def name(self) -> str:
        """For people."""

    def find_written(self, experiment: ExperimentSummary) -> Written:
        """What it has of an experiment."""

    def write_trial(self, experiment: ExperimentSummary, trial: TrialRecord) -> None:
        """Add a run for a trial."""

    def write_end(self, experiment: ExperimentSummary, end: EndRecord) -> None:
        """Add the run `verdict`."""


@dataclass(frozen=True)
class News:
    """What a look has written of one experiment to one target."""

    experiment_id: str
    target: str
    trials: int
    is_ended: bool
    """Whether its end was written too."""


class Mirror:
    """Keeps targets at what a controller has. Not for two programs with the same target at once."""

    def __init__(self, client: Client, targets: Sequence[Target]) -> None:
        self._client = client
        self._targets = targets
        self._seen: dict[str, tuple[str, int]] = {}
        """State and number of final trials that an experiment had when every target had all of it."""

    def look(self, experiment_ids: Sequence[str] = ()) -> Iterator[News]:
        """Write what has ended since; the named experiments, or all, the oldest first.

        Raises:
            ClientError: of the controller.
            TargetError: of a target; what it had got by then it knows.
        """
        chosen: list[ExperimentSummary]
        if experiment_ids:
            chosen = [self._client.get_experiment(each) for each in experiment_ids]
        else:
            chosen = [*self._client.list_experiments(archived="all")][::-1]
        for experiment in chosen:
            now = (experiment.state, experiment.trials_final)
            if self._seen.get(experiment.id) == now:
                continue
            try:
                for target in self._targets:
                    yield from self._write(experiment.id, target)
            except ApiError as error:
                if error.status != 404 or experiment_ids:
                    raise
                continue  # deleted meanwhile
            self._seen[experiment.id] = now

    def _write(self, experiment_id: str, target: Target) -> Iterator[News]:
        # Before its trials: once it has ended, none of them is open any more.
        experiment = self._client.get_experiment(experiment_id)
        written = target.find_written(experiment)
        if written.is_ended:
            return
        count = 0
        for trial in self._client.trials(experiment_id):
            if trial.state not in OPEN_TRIAL_STATES and trial.id not in written.trials:
                target.write_trial(experiment, describe_trial(experiment, self._client.get_trial(trial.id)))
                count += 1
        is_ended = experiment.state in FINAL_EXPERIMENT_STATES
        if is_ended:
            target.write_end(experiment, self._read_end(experiment))
        if count or is_ended:
            yield News(experiment_id, target.name, count, is_ended)

    def _read_end(self, experiment: ExperimentDetail) -> EndRecord:
        best: Best | None = None
        verdict: str | None = None
        files: dict[str, str]
        if experiment.kind == "search":
            story = gather(self._client, experiment.id)
            best, files = story.best, {"report.html": render(story)}
            stored = (best.report or {}).get("verdict") if best else None
            verdict = stored.get("sentence") if stored else None
        else:
            comparison = self._client.comparison(experiment.id)
            verdict = comparison.verdict.sentence if comparison.verdict else None
            files = {"comparison.json": comparison.model_dump_json(indent=1) + "\n"}
            files["comparison.csv"] = write_csv(comparison)
        return describe_end(experiment, best, verdict, files)
