"""What the page and the figures read beyond plain lists: whole columns of a search's trials, and sorted tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from paploss.client.states import REWARDED_STATES, TrialState
from paploss.controller.store.reading.lists import SortedPage, within_table
from paploss.controller.store.tables import Event, Experiment, Round, Trial
from paploss.controller.store.trials.counts import IS_WHOLE
from paploss.jobs.spec import JobKind

TrialOrder = Literal["number", "round", "state", "ap", "iteration", "seconds", "worker", "label"]

MEASURED_KINDS: tuple[JobKind, ...] = ("confirm", "compare", "final")
"""Job kinds whose APs are told by label."""
PACE_TRIALS: Final = 24
"""The last of a search, whose ends say how fast it goes."""
MOST_SAMPLES: Final = 2000

_COLUMNS = {
    "number": Trial.number,
    "round": Trial.round,
    "state": Trial.state,
    "ap": Trial.reward,
    "iteration": Trial.iteration,
    "seconds": Trial.seconds,
    "worker": Trial.worker,
    "label": Trial.label,
}


@dataclass(frozen=True)
class Reward:
    """One rewarded trial, as the reward figure shows it."""

    trial_id: str
    number: int
    round: int
    """Whose update has consumed it, else the open one: in a stream later than the version that proposed it."""
    reward: float
    state: TrialState


@dataclass(frozen=True)
class LabelRewards:
    """The rewards of one candidate or loss over its seeds."""

    label: str
    rewards: tuple[float, ...]
    planned: int


def read_rewards(session: Session, experiment_id: str) -> Sequence[Reward]:
    """All rewarded proxies of the whole length of a search, by number."""
    rows = session.execute(
        select(Trial.id, Trial.number, func.coalesce(Trial.consumed_round, Experiment.round), Trial.reward, Trial.state)
        .join(Experiment, Experiment.id == Trial.experiment_id)
        .where(Trial.experiment_id == experiment_id, *IS_WHOLE, Trial.state.in_(REWARDED_STATES))
        .order_by(Trial.number)
    )
    return [
        Reward(trial_id, number, round_number, reward, state)
        for trial_id, number, round_number, reward, state in rows
        if reward is not None
    ]


def read_label_rewards(session: Session, experiment_id: str) -> Sequence[LabelRewards]:
    """Confirmations or trainings of an experiment by label, the highest mean first; labels without a reward last."""
    rows = session.execute(
        select(Trial.label, Trial.reward)
        .where(Trial.experiment_id == experiment_id, Trial.kind.in_(MEASURED_KINDS))
        .order_by(Trial.number)
    )
    rewards: dict[str, list[float]] = {}
    planned: dict[str, int] = {}
    for label, reward in rows:
        planned[label] = planned.get(label, 0) + 1
        rewards.setdefault(label, []).extend([] if reward is None else [reward])
    found = [LabelRewards(label, tuple(values), planned[label]) for label, values in rewards.items()]
    return sorted(found, key=lambda row: -sum(row.rewards) / len(row.rewards) if row.rewards else 1.0)


@dataclass(frozen=True)
class TrialFilter:
    """Which trials a table shows; a field that is None is no condition."""

    state: TrialState | None = None
    kind: JobKind | None = None
    worker: str | None = None

    def conditions(self, experiment_id: str) -> list[ColumnElement[bool]]:
        """The WHERE clauses."""
        given = ((Trial.state, self.state), (Trial.kind, self.kind), (Trial.worker, self.worker))
        return [Trial.experiment_id == experiment_id, *(column == value for column, value in given if value)]


def sort_trials(
    session: Session,
    experiment_id: str,
    *,
    order: TrialOrder,
    descending: bool,
    offset: int,
    limit: int,
    only: TrialFilter,
) -> SortedPage[Trial]:
    """One page of an experiment's trials by any column; rows without a value come last in both directions."""
    column = _COLUMNS[order]
    conditions = only.conditions(experiment_id)
    total = session.scalar(select(func.count()).select_from(Trial).where(*conditions)) or 0
    offset = within_table(offset, limit, total)
    # Only ids are sorted: a row has a theta, and a sort would carry it along.
    ids = session.scalars(
        select(Trial.id)
        .where(*conditions)
        .order_by(column.is_(None), column.desc() if descending else column, Trial.number)
        .offset(offset)
        .limit(limit)
    ).all()
    rows = {trial.id: trial for trial in session.scalars(select(Trial).where(Trial.id.in_(ids)))}
    return SortedPage([rows[trial_id] for trial_id in ids], total, offset)


def open_classes(session: Session) -> set[int]:
    """Resource classes (GPUs per trial) of the experiments that have not ended."""
    return set(session.scalars(select(Experiment.gpus).where(Experiment.state.in_(("running", "paused"))).distinct()))


def seconds_per_trial(session: Session, experiment_ids: Sequence[str]) -> dict[str, float]:
    """Time between the ends of each experiment's last PACE_TRIALS trials, on average: what a trial takes with the
    current workers. An experiment has no entry until three of its trials have ended."""
    place = func.row_number().over(partition_by=Trial.experiment_id, order_by=Trial.finished_at.desc())
    ends = (
        select(Trial.experiment_id, Trial.finished_at, place.label("place"))
        .where(Trial.experiment_id.in_(experiment_ids), Trial.finished_at.is_not(None))
        .subquery()
    )
    rows = session.execute(
        select(ends.c.experiment_id, func.min(ends.c.finished_at), func.max(ends.c.finished_at), func.count())
        .where(ends.c.place <= PACE_TRIALS)
        .group_by(ends.c.experiment_id)
    )
    return {experiment_id: (last - first) / (count - 1) for experiment_id, first, last, count in rows if count >= 3}


def best_rewards(session: Session, experiment_ids: Sequence[str]) -> dict[str, float]:
    """The highest reward of each search's proxies; no entry without any."""
    rows = session.execute(
        select(Trial.experiment_id, func.max(Trial.reward))
        .where(Trial.experiment_id.in_(experiment_ids), *IS_WHOLE, Trial.reward.is_not(None))
        .group_by(Trial.experiment_id)
    )
    return {experiment_id: best for experiment_id, best in rows if best is not None}


def best_label_means(session: Session, experiment_ids: Sequence[str]) -> dict[str, float]:
    """The highest mean over the seeds of one loss, of each comparison or training; no entry without any reward."""
    means = (
        select(Trial.experiment_id, func.avg(Trial.reward).label("mean"))
        .where(
            Trial.experiment_id.in_(experiment_ids),
            Trial.kind.in_(MEASURED_KINDS),
            Trial.reward.is_not(None),
        )
        .group_by(Trial.experiment_id, Trial.label)
        .subquery()
    )
    rows = session.execute(select(means.c.experiment_id, func.max(means.c.mean)).group_by(means.c.experiment_id))
    return {experiment_id: best for experiment_id, best in rows if best is not None}


def count_screened_out(session: Session, experiment_id: str) -> int:
    """Losses that a search has left out as hopeless, over all its versions."""
    statement = select(func.sum(Round.screened_out)).where(Round.experiment_id == experiment_id)
    return session.scalar(statement) or 0


def read_pilot(session: Session, experiment_id: str) -> str | None:
    """What a search's pilot has found, in a sentence; None where it has none, or not yet."""
    told = select(Event.message).where(Event.experiment_id == experiment_id, Event.kind == "pilot_ended")
    return session.scalar(told.order_by(Event.id.desc()).limit(1))


def mean_rewards(session: Session, experiment_ids: Sequence[str]) -> dict[str, list[float]]:
    """The mean reward of each closed round, in order, for each search: what a sparkline shows."""
    means: dict[str, list[float]] = {experiment_id: [] for experiment_id in experiment_ids}
    rows = session.execute(
        select(Round.experiment_id, Round.mean_reward)
        .where(Round.experiment_id.in_(experiment_ids), Round.mean_reward.is_not(None))
        .order_by(Round.experiment_id, Round.number)
    )
    for experiment_id, mean in rows:
        if mean is not None:
            means[experiment_id].append(mean)
    return means


@dataclass(frozen=True)
class PolicyStep:
    """One version of an algorithm: where it proposes from."""

    number: int
    centre: list[float]
    spread: float


def read_policy(session: Session, experiment_id: str, most: int = 200) -> Sequence[PolicyStep]:
    """The versions of a search's algorithm in order, where it has a distribution.

    Of more than `most`, evenly chosen ones with the first and the last.
    """
    numbers = session.scalars(
        select(Round.number).where(Round.experiment_id == experiment_id).order_by(Round.number)
    ).all()
    if len(numbers) > most:
        numbers = [numbers[round(index * (len(numbers) - 1) / (most - 1))] for index in range(most)]
    rows = session.execute(
        select(Round.number, Round.centre, Round.spread)
        .where(Round.experiment_id == experiment_id, Round.number.in_(numbers))
        .order_by(Round.number)
    )
    return [
        PolicyStep(number, centre, spread)
        for number, centre, spread in rows
        if centre is not None and spread is not None
    ]


@dataclass(frozen=True)
class RewardedProxy:
    """A rewarded proxy: what was proposed, by which version, and its reward."""

    theta: list[float]
    round: int
    reward: float


def read_samples(session: Session, experiment_id: str) -> Sequence[RewardedProxy]:
    """The newest rewarded proxies of the whole length of a search, MOST_SAMPLES at most, newest first."""
    rows = session.execute(
        select(Trial.theta, Trial.round, Trial.reward)
        .where(Trial.experiment_id == experiment_id, *IS_WHOLE, Trial.reward.is_not(None))
        .order_by(Trial.number.desc())
        .limit(MOST_SAMPLES)
    )
    return [
        RewardedProxy(theta, number, reward)
        for theta, number, reward in rows
        if theta is not None and number is not None and reward is not None
    ]


@dataclass(frozen=True)
class ProxyLengths:
    """How long the proxies of a search took that ran to their end."""

    trials: int
    mean_seconds: float | None


def read_proxy_lengths(session: Session, experiment_id: str) -> ProxyLengths:
    """Training and evaluation, over all attempts; pruned and diverged trials were shorter and are left out."""
    its = (Trial.experiment_id == experiment_id, *IS_WHOLE, Trial.state == "succeeded", ~Trial.diverged)
    row = session.execute(select(func.count(Trial.seconds), func.avg(Trial.seconds)).where(*its)).one()
    return ProxyLengths(*row)


class LengthCount(NamedTuple):
    """The proxies of one length."""

    length: float
    trials: int
    succeeded: int


def count_by_length(session: Session, experiment_id: str) -> Sequence[LengthCount]:
    """The proxies of a search by length, the shortest first."""
    rows = session.execute(
        select(Trial.length, func.count(), func.count().filter(Trial.state == "succeeded"))
        .where(Trial.experiment_id == experiment_id, Trial.kind == "proxy")
        .group_by(Trial.length)
        .order_by(Trial.length)
    )
    return [LengthCount(*row) for row in rows]


@dataclass(frozen=True)
class Backlog:
    """The queued trials of one experiment."""

    experiment: Experiment
    trials: int
    oldest_at: float
    """When the first of them was proposed, seconds since 1970."""


def read_backlogs(session: Session) -> Sequence[Backlog]:
    """Experiments with trials that wait for a worker, in the order in which they are served."""
    # By ids and numbers alone, which an index has: there may be hundreds of thousands.
    queued = (
        select(Trial.experiment_id, func.count().label("trials"), func.min(Trial.number).label("first"))
        .where(Trial.state == "queued")
        .group_by(Trial.experiment_id)
        .subquery()
    )
    rows = session.execute(
        select(Experiment, queued.c.trials, Trial.created_at)
        .join(queued, queued.c.experiment_id == Experiment.id)
        .join(Trial, (Trial.experiment_id == Experiment.id) & (Trial.number == queued.c.first))
        .where(Experiment.state.in_(("running", "paused")))
        .order_by(Experiment.priority.desc(), Experiment.id)
    )
    return [Backlog(*row) for row in rows]
