"""What a target is given: a trial that has ended, which never changes again, and an experiment's end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paploss.client.documents import SPEC
from paploss.client.models import Best, ExperimentDetail, TrialDetail
from paploss.client.specs import SearchSpec
from paploss.controller.experiments.losses import search_space
from paploss.jobs.documents import UnreadableError
from paploss.jobs.metrics import METRIC_NAMES, Metrics


@dataclass(frozen=True)
class TrialRecord:
    """A trial that has ended. Metrics are fractions in [0, 1]; what was not measured is left out."""

    id: str
    name: str
    state: str
    parameters: Mapping[str, str | float]
    course: Sequence[tuple[int, Mapping[str, float]]]
    """What was measured, by iteration; what came of the trial stands last, at its last iteration."""
    tags: Mapping[str, str]
    began_at: float
    """Seconds since 1970, as `ended_at`."""
    ended_at: float


@dataclass(frozen=True)
class EndRecord:
    """How an experiment has ended."""

    state: str
    sentence: str
    """Which loss to use; where there is no verdict, the state and its reason."""
    metrics: Mapping[str, float]
    files: Mapping[str, str]
    """Text by file name."""
    ended_at: float
    """Seconds since 1970."""


def describe_trial(experiment: ExperimentDetail, trial: TrialDetail) -> TrialRecord:
    """The record of a trial that has ended."""
    ended = trial.finished_at or trial.created_at
    attempt = trial.attempt_list[0] if trial.attempt_list else None
    tags = {
        "experiment": experiment.id,
        "trial": trial.id,
        "state": trial.state,
        "worker": trial.worker or (attempt.worker if attempt else ""),
        "host": attempt.host if attempt else "",
        "device": attempt.device if attempt else "",
        "error": trial.error or "",
        "tags": " ".join(trial.tags),
    }
    return TrialRecord(
        id=trial.id,
        name=f"{trial.number:04d} {trial.label or trial.kind}",
        state=trial.state,
        parameters=_parameters(experiment, trial),
        course=_course(trial),
        tags={name: value for name, value in tags.items() if value},
        began_at=(trial.started_at or trial.created_at).timestamp(),
        ended_at=ended.timestamp(),
    )


def describe_end(
    experiment: ExperimentDetail, best: Best | None, verdict: str | None, files: Mapping[str, str]
) -> EndRecord:
    """The record of an experiment that has ended.

    Args:
        experiment: as it is after its end.
        best: of a search.
        verdict: the sentence that says which loss to use, where there is one.
        files: text by file name, to be kept beside it.
    """
    own = f"{experiment.kind} {experiment.state}" + (f": {experiment.reason}" if experiment.reason else "")
    if best is not None:
        files = {**files, "best.json": best.model_dump_json(indent=1) + "\n"}
    return EndRecord(
        state=experiment.state,
        sentence=verdict or own,
        metrics={} if experiment.best_ap is None else {"best": experiment.best_ap},
        files={**files, "verdict.txt": f"{verdict or own}\n"},
        ended_at=(experiment.finished_at or experiment.created_at).timestamp(),
    )


def _course(trial: TrialDetail) -> list[tuple[int, dict[str, float]]]:
    course = {each.iteration: _by_name(each.metrics) for each in trial.evaluations}
    end = {"reward": trial.reward, "training_loss": trial.progress_loss, "seconds": trial.seconds}
    last = course.setdefault(max([trial.iteration, *course]), {})
    last |= {} if trial.metrics is None else _by_name(trial.metrics) | _by_class(trial.metrics)
    last |= {name: value for name, value in end.items() if value is not None}
    return sorted(course.items())


def _parameters(experiment: ExperimentDetail, trial: TrialDetail) -> dict[str, str | float]:
    found: dict[str, str | float] = {
        "profile": experiment.profile,
        "dataset": experiment.dataset or "-",
        "kind": trial.kind,
        "seed": trial.seed,
        "learning_rate_factor": trial.learning_rate_factor,
    }
    if trial.loss is not None:
        found["loss"] = trial.loss.name
    if trial.round is not None:
        found["round"] = trial.round
    try:
        spec = SPEC.read(experiment.spec)
    except UnreadableError:  # of another version: what stands in its columns is still told
        return found
    if isinstance(spec, SearchSpec):
        found["algorithm"] = spec.algorithm.name
        names = search_space(spec).names
        if trial.theta is not None and len(trial.theta) == len(names):
            found |= dict(zip(names, trial.theta, strict=True))
    return found


def _by_name(metrics: Metrics) -> dict[str, float]:
    found = {name: getattr(metrics, name.lower()) for name in METRIC_NAMES}
    return {name: value for name, value in found.items() if value >= 0}


def _by_class(metrics: Metrics) -> dict[str, float]:
    return {f"AP of {name}": value for name, value in metrics.per_class.items() if value >= 0}
