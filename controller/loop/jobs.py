"""From a trial's row to the job that a worker runs."""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.search import pruning
from controller.search.space import Space
from controller.specs import SearchSpec, TrainingSpec
from controller.store.models import Evaluation, Search, Trial
from jobs.profiles import PROFILES
from jobs.spec import HeadLoss, JobSpec, LossSpec, PrunePoint

COMPARED_TRIALS = 64
"""A trial is compared with so many before it and after it: enough for a median, few enough to be quick."""

_PROXY_SEEDS, _CONFIRM_SEEDS = 1, 2


def parse_search(search: Search) -> SearchSpec:
    """The request that a search row came from."""
    return SearchSpec.model_validate(search.spec)


def parse_training(search: Search) -> TrainingSpec:
    """The training request that a row came from."""
    return TrainingSpec.model_validate(search.spec)


def search_space(spec: SearchSpec) -> Space:
    """The space that a search moves in."""
    return Space(PROFILES[spec.profile].heads, spec.knots)


def decode_loss(spec: SearchSpec, theta: Sequence[float]) -> LossSpec:
    """The loss that a theta [D] in [0, 1] stands for in this search.

    Raises:
        ValueError: names the dimension that is outside.
    """
    return LossSpec(
        heads={
            head: HeadLoss(
                control_points=tuple(
                    tuple((float(x), float(y)) for x, y in function) for function in parameters.control_points
                ),
                gradient_scale=parameters.gradient_scale,
                quality=spec.quality,
            )
            for head, parameters in search_space(spec).decode(theta).items()
        }
    )


def trial_loss(search: Search, trial: Trial) -> LossSpec:
    """The loss that a trial trains with."""
    if trial.loss is not None:
        return LossSpec.model_validate(trial.loss)
    if trial.theta is None:
        raise ValueError(f"trial {trial.id} has neither a loss nor a theta")
    return decode_loss(parse_search(search), trial.theta)


def proxy_seed(seed: int, round_number: int) -> int:
    """The seed of all trials of one policy version.

    One for all of them, so that what a seed adds to every AP cancels in the advantages; another one for each version,
    so that the search as a whole does not fit one seed.
    """
    return _derive(seed, _PROXY_SEEDS, round_number)


def confirm_seed(seed: int, index: int) -> int:
    """The `index`-th seed for confirming candidates: none that the search has used."""
    return _derive(seed, _CONFIRM_SEEDS, index)


def build_job(search: Search, trial: Trial) -> JobSpec:
    """The job of a trial that has been claimed."""
    spec: SearchSpec | TrainingSpec
    if search.kind == "training":
        spec = parse_training(search)
        if trial.kind == "rate_check":
            spec = shorten(spec)
        schedule, split = spec.schedule, spec.evaluate_split
    else:
        spec = parse_search(search)
        schedule, split = (spec.confirm.schedule if trial.kind == "confirm" else "proxy"), "val"
    return JobSpec(
        trial_id=trial.id,
        kind=trial.kind,
        profile=spec.profile,
        schedule=schedule,
        overrides=spec.overrides,
        learning_rate_factor=trial.learning_rate_factor,
        dataset=spec.dataset,
        evaluate_split=split,
        loss=trial_loss(search, trial),
        seed=trial.seed,
        weights=spec.weights,
        prune=tuple(PrunePoint.model_validate(point) for point in trial.prune or ()),
        gpus=spec.trial_gpus,
        gather_scores=spec.gather_scores,
        timeout_seconds=spec.timeout_seconds,
        synthetic=spec.synthetic,
    )


def shorten(spec: TrainingSpec) -> TrainingSpec:
    """As its learning-rate check trains: as long as a proxy, measured on `val`.

    A number of epochs that was given is that of the request's own schedule.
    """
    epochs = spec.overrides.epochs if spec.schedule == "proxy" else None
    overrides = spec.overrides.model_copy(update={"epochs": epochs})
    return spec.model_copy(update={"schedule": "proxy", "overrides": overrides, "evaluate_split": "val"})


def fix_prune_points(session: Session, search: Search, trial: Trial) -> None:
    """Set where a trial is to stop as hopeless, from what the trials before it have measured so far.

    Fixed by the first claim, so that a retry stops where the first attempt would have.
    """
    if trial.attempt == 1 and trial.kind == "proxy" and parse_search(search).prune:
        points = _prune_points(session, trial)
        trial.prune = [point.model_dump(mode="json") for point in points] or None


def _prune_points(session: Session, trial: Trial) -> list[PrunePoint]:
    rows = session.execute(
        select(Evaluation.iteration, Evaluation.total_iterations, Evaluation.ap)
        .join(Trial, Trial.id == Evaluation.trial_id)
        .where(
            Trial.search_id == trial.search_id,
            Trial.number.between(trial.number - COMPARED_TRIALS, trial.number + COMPARED_TRIALS),
            Trial.id != trial.id,
            Trial.kind == "proxy",
            Evaluation.iteration < Evaluation.total_iterations,
        )
        .order_by(Trial.number, Evaluation.iteration)
    )
    by_fraction: dict[float, list[float]] = {}
    for iteration, total_iterations, ap in rows:
        by_fraction.setdefault(iteration / total_iterations, []).append(max(ap, 0.0))
    thresholds = {fraction: pruning.threshold(aps) for fraction, aps in sorted(by_fraction.items()) if 0 < fraction < 1}
    return [PrunePoint(fraction=fraction, min_ap=min_ap) for fraction, min_ap in thresholds.items() if min_ap]


def _derive(seed: int, purpose: int, index: int) -> int:
    return int(np.random.SeedSequence((seed, purpose, index)).generate_state(1)[0] >> 1)
