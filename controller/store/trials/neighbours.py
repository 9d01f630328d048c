"""Intermediate results of the trials around a trial: the pruning of hopeless trials compares with them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Integer, bindparam, select, update
from sqlalchemy.orm import Session

from paploss.controller.store.database import table_of
from paploss.controller.store.tables import Evaluation, Trial

_TRIALS, _EVALUATIONS = table_of(Trial), table_of(Evaluation)
_NUMBER, _DISTANCE = bindparam("number", type_=Integer), bindparam("distance", type_=Integer)
_MEASURED = (
    select(_EVALUATIONS.c.iteration, _EVALUATIONS.c.total_iterations, _EVALUATIONS.c.ap)
    .join(_TRIALS, _TRIALS.c.id == _EVALUATIONS.c.trial_id)
    .where(
        _TRIALS.c.experiment_id == bindparam("experiment_id"),
        _TRIALS.c.number.between(_NUMBER - _DISTANCE, _NUMBER + _DISTANCE),
        _TRIALS.c.number != _NUMBER,
        _TRIALS.c.kind == "proxy",
        _EVALUATIONS.c.iteration < _EVALUATIONS.c.total_iterations,
    )
    .order_by(_TRIALS.c.number, _EVALUATIONS.c.iteration)
)
_FIX = (
    update(_TRIALS)
    .where(_TRIALS.c.id == bindparam("trial_id"))
    .values(prune=bindparam("points", type_=_TRIALS.c.prune.type))
)


class Measurement(NamedTuple):
    """An intermediate reward of a proxy."""

    iteration: int
    total_iterations: int
    reward: float


def read_measurements(session: Session, experiment_id: str, number: int, distance: int) -> list[Measurement]:
    """Intermediate rewards of the proxies whose numbers differ by 1 to `distance` from `number`."""
    near = {"experiment_id": experiment_id, "number": number, "distance": distance}
    return [Measurement(*row) for row in session.execute(_MEASURED, near)]


def fix_prune_points(session: Session, trial_id: str, points: Sequence[dict[str, Any]]) -> None:
    """Store the prune points of a trial, so that a retry stops where the first attempt would have."""
    session.execute(_FIX, {"trial_id": trial_id, "points": list(points)})
