"""MLflow: an experiment for each experiment, a run for each trial, and a run `verdict` with the report as artifacts."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

# Before its import, which reads them: it would send usage figures to its makers, repeat requests for minutes and print.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from paploss.client.models import ExperimentSummary
from paploss.mirror.mirror import TargetError, Written
from paploss.mirror.records import EndRecord, TrialRecord

TRIAL_TAG: Final = "paploss.trial"
_PREFIX: Final = "paploss."
_VERDICT: Final = "verdict"
_MOST_METRICS, _MOST_PARAMETERS, _MOST_RUNS = 1000, 100, 1000
"""In one request."""
_LONGEST_TAG: Final = 5000
_UNSAFE = re.compile(r"[^\w\-. ]")
_STATUSES: Final = {"succeeded": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}


class MlflowTarget:
    """A tracking server, or what else MLflow takes for one."""

    def __init__(self, uri: str) -> None:
        """`uri`: as `mlflow.set_tracking_uri` takes it; who may write, MLflow's own variables say."""
        self._uri = uri
        with self._translated():
            self._mlflow = MlflowClient(tracking_uri=uri)

    @property
    def name(self) -> str:
        """For people."""
        return "MLflow"

    def find_written(self, experiment: ExperimentSummary) -> Written:
        """Trials whose runs have ended; runs that were deleted there are not written again."""
        with self._translated():
            known = self._mlflow.get_experiment_by_name(_name(experiment))
            if known is None:
                return Written()
            if known.lifecycle_stage == "deleted":
                return Written(is_ended=True)
            done = {run.data.tags.get(TRIAL_TAG, "") for run in self._list_runs(known.experiment_id) if _is_done(run)}
        return Written(frozenset(done - {_VERDICT}), _VERDICT in done)

    def write_trial(self, experiment: ExperimentSummary, trial: TrialRecord) -> None:
        """Add a run with parameters, metrics by iteration, and tags."""
        at = round(trial.ended_at * 1000)
        with self._translated():
            run_id = self._open(experiment, trial.id, trial.name, trial.began_at)
            metrics = [each for step, measured in trial.course for each in _metrics(measured, at, step)]
            parameters = [Param(_safe(name), str(value)) for name, value in trial.parameters.items()]
            self._log(run_id, metrics, parameters, _tags(trial.tags))
            self._mlflow.set_terminated(run_id, _STATUSES[trial.state], at)

    def write_end(self, experiment: ExperimentSummary, end: EndRecord) -> None:
        """Add the run `verdict`, with its sentence as the description."""
        at = round(end.ended_at * 1000)
        with self._translated():
            run_id = self._open(experiment, _VERDICT, _VERDICT, end.ended_at)
            tags = _tags({"experiment": experiment.id, "state": end.state})
            tags.append(RunTag("mlflow.note.content", end.sentence[:_LONGEST_TAG]))
            self._log(run_id, _metrics(end.metrics, at, 0), [], tags)
            for file, text in end.files.items():
                self._store(run_id, file, text)
            self._mlflow.set_terminated(run_id, _STATUSES[end.state], at)

    def _open(self, experiment: ExperimentSummary, trial: str, name: str, began_at: float) -> str:
        """Id of the run of a trial: of the one that was begun before, or of a new one."""
        known = self._mlflow.get_experiment_by_name(_name(experiment))
        if known is None:
            tags = {f"{_PREFIX}experiment": experiment.id, f"{_PREFIX}kind": experiment.kind}
            inside = self._mlflow.create_experiment(
                _name(experiment), tags=tags | {f"{_PREFIX}owner": experiment.owner}
            )
        else:
            inside = known.experiment_id
        begun = self._mlflow.search_runs([inside], f"tags.`{TRIAL_TAG}` = '{trial}'", max_results=1)
        if begun:
            return str(begun[0].info.run_id)
        made = self._mlflow.create_run(inside, round(began_at * 1000), {TRIAL_TAG: trial}, name)
        return str(made.info.run_id)

    def _log(self, run_id: str, metrics: Sequence[Metric], parameters: Sequence[Param], tags: Sequence[RunTag]) -> None:
        for start in range(0, len(metrics), _MOST_METRICS):
            self._mlflow.log_batch(run_id, metrics=metrics[start : start + _MOST_METRICS])
        for start in range(0, len(parameters), _MOST_PARAMETERS):
            self._mlflow.log_batch(run_id, params=parameters[start : start + _MOST_PARAMETERS])
        self._mlflow.log_batch(run_id, tags=tags)

    def _store(self, run_id: str, file: str, text: str) -> None:
        try:
            self._mlflow.log_text(run_id, text, file)
        except Exception as error:  # of the library of whatever keeps the artifacts, or that there is none
            told = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            raise TargetError(f"MLflow at {self._uri}: cannot store {file}: {told}") from error

    def _list_runs(self, inside: str) -> Iterator[Run]:
        token: str | None = None
        while True:
            page = self._mlflow.search_runs([inside], "", ViewType.ALL, _MOST_RUNS, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except MlflowException as error:
            raise TargetError(f"MLflow at {self._uri}: {str(error).partition(chr(10))[0]}") from error


def _name(experiment: ExperimentSummary) -> str:
    return f"{experiment.name} ({experiment.id})" if experiment.name else experiment.id


def _is_done(run: Run) -> bool:
    return run.info.status in _STATUSES.values() or run.info.lifecycle_stage == "deleted"


def _metrics(values: Mapping[str, float], at: int, step: int) -> list[Metric]:
    """With the trial's own times, so that one that is logged twice is one for MLflow too."""
    return [Metric(_safe(name), value, at, step) for name, value in values.items()]


def _tags(values: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(f"{_PREFIX}{name}", value[:_LONGEST_TAG]) for name, value in values.items() if name != "trial"]


def _safe(name: str) -> str:
    """A name of a class may hold characters that MLflow refuses in names."""
    return _UNSAFE.sub("_", name)
