"""From a trial's row to the job that a worker runs."""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Integer, bindparam, select, update
from sqlalchemy.orm import Session

from paploss.client.specs import SearchSpec, TrainingSpec
from paploss.controller.search import pruning
from paploss.controller.search.space import Space
from paploss.controller.store.database import table_of
from paploss.controller.store.leases import Grant
from paploss.controller.store.models import Evaluation, JsonObject, Search, Trial
from paploss.jobs.losses import HeadLoss, LossSpec, ParameterizedAP, parse_loss
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import JobSpec, PrunePoint

COMPARED_TRIALS = 64
"""A trial is compared with so many before it and after it: enough for a median, few enough to be quick."""

_PROXY_SEEDS, _CONFIRM_SEEDS = 1, 2

_TRIALS, _EVALUATIONS = table_of(Trial), table_of(Evaluation)
_NUMBER, _DISTANCE = bindparam("number", type_=Integer), bindparam("distance", type_=Integer)
_MEASURED_NEARBY = (
    select(_EVALUATIONS.c.iteration, _EVALUATIONS.c.total_iterations, _EVALUATIONS.c.ap)
    .join(_TRIALS, _TRIALS.c.id == _EVALUATIONS.c.trial_id)
    .where(
        _TRIALS.c.search_id == bindparam("search_id"),
        _TRIALS.c.number.between(_NUMBER - _DISTANCE, _NUMBER + _DISTANCE),
        _TRIALS.c.number != _NUMBER,
        _TRIALS.c.kind == "proxy",
        _EVALUATIONS.c.iteration < _EVALUATIONS.c.total_iterations,
    )
    .order_by(_TRIALS.c.number, _EVALUATIONS.c.iteration)
)
"""What the proxies before and after a trial have measured on their way."""


def parse_search(search: Search) -> SearchSpec:
    """The request that a search row came from."""
    return SearchSpec.model_validate(search.spec)


def parse_training(search: Search) -> TrainingSpec:
    """The training request that a row came from."""
    return TrainingSpec.model_validate(search.spec)


def parse_request(search: Search) -> SearchSpec | TrainingSpec:
    """The request that a row of either kind came from."""
    return parse_training(search) if search.kind == "training" else parse_search(search)


def search_space(spec: SearchSpec) -> Space:
    """The space that a search moves in."""
    return Space(PROFILES[spec.profile].heads, spec.knots)


def decode_loss(spec: SearchSpec, theta: Sequence[float]) -> LossSpec:
    """The loss that a theta [D] in [0, 1] stands for in this search.

    Raises:
        ValueError: names the dimension that is outside.
    """
    return ParameterizedAP(
        heads={
            head: HeadLoss(
                control_points=parameters.control_points.tolist(),
                gradient_scale=parameters.gradient_scale,
                quality=spec.quality,
            )
            for head, parameters in search_space(spec).decode(theta).items()
        }
    )


def trial_loss(search: Search, trial: Trial) -> LossSpec:
    """The loss that a trial trains with."""
    if search.kind == "training":
        return parse_loss(trial.loss, strict=False)
    return _loss(parse_search(search), trial.theta, trial.loss)


def proxy_seed(seed: int, round_number: int) -> int:
    """The seed of all trials of one policy version.

    One for all of them, so that what a seed adds to every AP cancels in the advantages; another one for each version,
    so that the search as a whole does not fit one seed.
    """
    return _derive(seed, _PROXY_SEEDS, round_number)


def confirm_seed(seed: int, index: int) -> int:
    """The `index`-th seed for confirming candidates: none that the search has used."""
    return _derive(seed, _CONFIRM_SEEDS, index)


def build_job(session: Session, grant: Grant) -> JobSpec:
    """The job of a trial that has just been claimed; its first claim fixes where it stops as hopeless."""
    spec: SearchSpec | TrainingSpec
    points = [PrunePoint.model_validate(point) for point in grant.prune or ()]
    if grant.search_kind == "training":
        spec = TrainingSpec.model_validate(grant.spec)
        loss = parse_loss(grant.loss, strict=False)
        if grant.kind == "rate_check":
            spec = shorten(spec)
        schedule, split = spec.schedule, spec.evaluate_split
    else:
        spec = SearchSpec.model_validate(grant.spec)
        loss = _loss(spec, grant.theta, grant.loss)
        schedule, split = (spec.confirm.schedule if grant.kind == "confirm" else "proxy"), "val"
        if spec.prune and grant.kind == "proxy" and grant.attempt == 1:
            points = _fix_prune_points(session, grant)
    return JobSpec(
        trial_id=grant.trial_id,
        kind=grant.kind,
        profile=spec.profile,
        schedule=schedule,
        overrides=spec.overrides,
        learning_rate_factor=grant.learning_rate_factor,
        dataset=spec.dataset,
        evaluate_split=split,
        loss=loss,
        seed=grant.seed,
        weights=spec.weights,
        prune=tuple(points),
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


def _loss(spec: SearchSpec, theta: Sequence[float] | None, loss: JsonObject | None) -> LossSpec:
    return decode_loss(spec, theta) if loss is None and theta is not None else parse_loss(loss, strict=False)


def _fix_prune_points(session: Session, grant: Grant) -> list[PrunePoint]:
    """Where a trial is to stop as hopeless, from what the trials beside it have measured so far.

    Stored by the first claim, so that a retry stops where the first attempt would have.
    """
    points = _prune_points(session, grant)
    if points:
        session.execute(
            update(_TRIALS)
            .where(_TRIALS.c.id == grant.trial_id)
            .values(prune=[point.model_dump(mode="json") for point in points])
        )
    return points


def _prune_points(session: Session, grant: Grant) -> list[PrunePoint]:
    near = {"search_id": grant.search_id, "number": grant.number, "distance": COMPARED_TRIALS}
    rows = session.execute(_MEASURED_NEARBY, near)
    by_fraction: dict[float, list[float]] = {}
    for iteration, total_iterations, ap in rows:
        by_fraction.setdefault(iteration / total_iterations, []).append(max(ap, 0.0))
    thresholds = {fraction: pruning.threshold(aps) for fraction, aps in sorted(by_fraction.items()) if 0 < fraction < 1}
    return [PrunePoint(fraction=fraction, min_ap=min_ap) for fraction, min_ap in thresholds.items() if min_ap]


def _derive(seed: int, purpose: int, index: int) -> int:
    return int(np.random.SeedSequence((seed, purpose, index)).generate_state(1)[0] >> 1)
