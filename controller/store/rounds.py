"""The versions of a search's algorithm, and the samples that its updates consume.

Statements bypass the ORM and are built once: building one costs more than running it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Boolean, Integer, bindparam, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from paploss.client.states import OPEN_TRIAL_STATES
from paploss.controller.search.halving import Rung
from paploss.controller.store.database import is_one_of, now, table_of
from paploss.controller.store.tables import Experiment, Round, Trial
from paploss.controller.store.trials.counts import IS_WHOLE, UNCONSUMED
from paploss.jobs.documents import JsonObject

_TRIALS, _ROUNDS = table_of(Trial), table_of(Round)
_READY = (
    select(_TRIALS.c.id, _TRIALS.c.theta, _TRIALS.c.reward, _TRIALS.c.round, _TRIALS.c.length)
    .where(
        _TRIALS.c.experiment_id == bindparam("experiment_id"),
        *UNCONSUMED,
        _TRIALS.c.reward.is_not(None),
        _TRIALS.c.derived_from.is_not(None) == bindparam("promotions", type_=Boolean),
    )
    .limit(bindparam("count", type_=Integer))
)
_READY_IN_ORDER = _READY.order_by(_TRIALS.c.number)
_READY_IN_TIME = _READY.order_by(_TRIALS.c.finished_at, _TRIALS.c.number)
_VERSIONS = select(_ROUNDS.c.number, _ROUNDS.c.state, _ROUNDS.c.centre, _ROUNDS.c.spread).where(
    _ROUNDS.c.experiment_id == bindparam("experiment_id"), _ROUNDS.c.number.in_(bindparam("numbers", expanding=True))
)
_PROPOSED = (
    select(
        _TRIALS.c.theta,
        _TRIALS.c.reward,
        _TRIALS.c.seed,
        _TRIALS.c.state == "succeeded",
        _TRIALS.c.consumed_round,
        _TRIALS.c.length,
        _TRIALS.c.derived_from.is_not(None),
    )
    .where(
        _TRIALS.c.experiment_id == bindparam("experiment_id"),
        _TRIALS.c.kind == "proxy",
        _TRIALS.c.number < bindparam("before"),
    )
    .order_by(_TRIALS.c.number)
)
_CONSUME = (
    update(_TRIALS)
    .where(
        _TRIALS.c.experiment_id == bindparam("its_experiment"),
        *UNCONSUMED,
        or_(
            _TRIALS.c.id.in_(bindparam("ids", expanding=True)),
            _TRIALS.c.reward.is_(None),  # those that ended without one are counted as consumed as well
        ),
    )
    .values(consumed_round=bindparam("version", type_=Integer))
)


_RUNGS = (
    select(
        _TRIALS.c.length,
        func.count().filter(_TRIALS.c.state == "succeeded"),
        func.count().filter(_TRIALS.c.state == "succeeded", ~_TRIALS.c.diverged),
        func.count().filter(_TRIALS.c.derived_from.is_not(None)),
        func.count().filter(_TRIALS.c.derived_from.is_not(None), is_one_of(_TRIALS.c.state, OPEN_TRIAL_STATES)),
    )
    .where(_TRIALS.c.experiment_id == bindparam("experiment_id"), _TRIALS.c.kind == "proxy")
    .group_by(_TRIALS.c.length)
)


class ReadySample(NamedTuple):
    """A proxy with a reward that no update has consumed."""

    trial_id: str
    theta: list[float]
    reward: float
    round: int | None
    """The version that proposed it."""
    length: float


class ProposedTrial(NamedTuple):
    """A proxy of any state, as far as algorithms learn from it."""

    theta: list[float]
    reward: float | None
    seed: int
    succeeded: bool
    consumed_by: int | None
    length: float
    is_promotion: bool
    """Whether it continues another one, whose theta it has."""


def find_version(session: Session, experiment_id: str, number: int) -> Round | None:
    """One version, or None where it does not exist yet."""
    return session.get(Round, (experiment_id, number))


def add_version(
    session: Session,
    experiment_id: str,
    number: int,
    *,
    state: JsonObject,
    centre: list[float] | None,
    spread: float | None,
) -> Round:
    """A new version that has proposed nothing yet."""
    version = Round(
        experiment_id=experiment_id,
        number=number,
        state=state,
        centre=centre,
        spread=spread,
        proposed=0,
        screened_out=0,
    )
    session.add(version)
    return version


def read_state(version: Any) -> JsonObject:
    """An algorithm's state as it was stored; version 0.1.0 knew only mu and sigma."""
    if version.state is not None:
        return dict(version.state)
    return {"version": version.number, "mu": version.centre, "sigma": version.spread}


def read_states(session: Session, experiment_id: str, numbers: Collection[int]) -> Mapping[int, JsonObject]:
    """The states of several versions by number."""
    asked = {"experiment_id": experiment_id, "numbers": sorted(numbers)}
    return {number: read_state(_Stored(number, *rest)) for number, *rest in session.execute(_VERSIONS, asked)}


def read_ready(
    session: Session, experiment_id: str, count: int, *, by_time: bool, promotions: bool = False
) -> Sequence[ReadySample]:
    """The next `count` samples for an update: the first that ended, or those of the lowest numbers.

    `promotions`: those of promotions, instead of those of the other trials.

    Raises:
        ValueError: a proxy with a reward has no theta.
    """
    statement = _READY_IN_TIME if by_time else _READY_IN_ORDER
    asked = {"experiment_id": experiment_id, "count": count, "promotions": promotions}
    rows = session.execute(statement, asked).all()
    for trial_id, theta, *_ in rows:
        if theta is None:
            raise ValueError(f"trial {trial_id}: expected a theta of a finished proxy")
    return [ReadySample(*row) for row in rows]


def read_proposed(session: Session, experiment_id: str, before: int) -> Sequence[ProposedTrial]:
    """The proxies of numbers below `before`, by number."""
    asked = {"experiment_id": experiment_id, "before": before}
    return [ProposedTrial(*row) for row in session.execute(_PROPOSED, asked)]


def read_earlier(session: Session, experiment_id: str) -> Sequence[JsonObject]:
    """What the search takes from earlier ones."""
    return session.scalar(select(Experiment.earlier).where(Experiment.id == experiment_id)) or ()


def close_version(
    session: Session,
    version: Round,
    samples: Sequence[ReadySample],
    *,
    mean_reward: float | None,
    best_reward: float | None,
) -> None:
    """Mark these samples as consumed by an update, and those that ended without a reward."""
    version.mean_reward = mean_reward
    version.best_reward = best_reward
    version.rewards = len(samples)
    version.closed_at = now()
    consume(session, version, samples)


def consume(session: Session, version: Round, samples: Sequence[ReadySample]) -> None:
    """Mark these samples as known from the next version on, and those that ended without a reward."""
    ids = [sample.trial_id for sample in samples]
    session.execute(_CONSUME, {"its_experiment": version.experiment_id, "version": version.number, "ids": ids})


def read_rungs(session: Session, experiment_id: str) -> dict[float, Rung]:
    """The proxies of a search by their length."""
    rows = session.execute(_RUNGS, {"experiment_id": experiment_id})
    return {row[0]: Rung(*row[1:]) for row in rows}


def read_best_of_length(session: Session, experiment_id: str, length: float, count: int) -> Sequence[Trial]:
    """The best proxies of one length that can be promoted and have not been; ties go to the earlier one."""
    longer = aliased(Trial)
    is_promoted = exists().where(longer.experiment_id == experiment_id, longer.derived_from == Trial.id)
    return session.scalars(
        select(Trial)
        .where(
            Trial.experiment_id == experiment_id,
            Trial.kind == "proxy",
            Trial.length == length,
            Trial.state == "succeeded",
            ~Trial.diverged,
            ~is_promoted,
        )
        .order_by(Trial.reward.desc(), Trial.number)
        .limit(count)
    ).all()


class _Stored(NamedTuple):
    number: int
    state: JsonObject | None
    centre: list[float] | None
    spread: float | None


def read_best_proxies(session: Session, experiment_id: str, count: int) -> Sequence[Trial]:
    """The proxies of the whole length with the highest rewards; ties go to the earlier one."""
    return session.scalars(
        select(Trial)
        .where(Trial.experiment_id == experiment_id, *IS_WHOLE, Trial.reward.is_not(None))
        .order_by(Trial.reward.desc(), Trial.number)
        .limit(count)
    ).all()
