"""What monitoring counts over all trials that there have been, without a look at each of them.

A final trial and its attempts never change again. So the leader adds up an experiment's first trials, as far as all are
final, once, and stores the sums with the number that they reach to. Whoever asks adds what follows: no more than
LEAST_AT_ONCE final trials, and those between the oldest open one and the newest. No transition has a part in it;
deleting an experiment deletes its tally, and one that is loaded, or that an older version has left, is added up anew.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, func, or_, select
from sqlalchemy.orm import Session

from paploss.client.states import FINAL_EXPERIMENT_STATES, OPEN_TRIAL_STATES, REWARDED_STATES, TrialState
from paploss.controller.store.database import is_one_of, table_of
from paploss.controller.store.tables import Attempt, Experiment, Tally, Trial
from paploss.controller.store.trials.counts import IS_WHOLE

DURATION_BOUNDS_SECONDS: Final = (10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400)
"""Of the histogram of durations. Stored sums are by these: whoever changes them empties the table, in a migration."""
LEAST_AT_ONCE: Final = 100
"""Trials by which a tally grows, while its experiment has not ended."""
MOST_AT_ONCE: Final = 10_000
_EXPERIMENTS_AT_ONCE = 200
"""In one statement: SQLite has a limit of conditions."""

_UNTIL = func.coalesce(Tally.until, 0)

_SHORT = (
    select(Experiment.id, Experiment.state, Experiment.next_number, _UNTIL)
    .outerjoin(Tally, Tally.experiment_id == Experiment.id)
    .where(Experiment.next_number > _UNTIL)
    .order_by(Experiment.id)
)
"""Experiments with trials that are in no tally."""
# Of one statement: a trial that goes from running to queued between two would be in neither.
_FIRST_OPEN = select(func.min(Trial.number)).where(
    Trial.experiment_id == bindparam("experiment_id"),
    Trial.number >= bindparam("until"),
    is_one_of(table_of(Trial).c.state, OPEN_TRIAL_STATES),
)
_STATES = select(Experiment.profile, "trials." + Trial.state, func.count()).select_from(Trial).join(Experiment)
_OUTCOMES = (
    select(Experiment.profile, "attempts." + Attempt.outcome, func.count())
    .select_from(Attempt)
    .join(Trial)
    .join(Experiment)
    .where(Attempt.outcome.is_not(None))
)
_DURATIONS = (
    select(
        Experiment.profile,
        func.count(),
        func.sum(Trial.seconds),
        *(func.sum(case((Trial.seconds <= bound, 1), else_=0)) for bound in DURATION_BOUNDS_SECONDS),
    )
    .select_from(Trial)
    .join(Experiment)
    .where(*IS_WHOLE, Trial.state.in_(REWARDED_STATES), Trial.seconds.is_not(None))
)


class Stretch(NamedTuple):
    """Trials of an experiment by their numbers, from `start` to before `end`; without an end, to the newest."""

    experiment_id: str
    start: int
    end: int | None = None

    @property
    def condition(self) -> ColumnElement[bool]:
        """Whether a trial is one of them."""
        within = and_(Trial.experiment_id == self.experiment_id, Trial.number >= self.start)
        return within if self.end is None else and_(within, Trial.number < self.end)


@dataclass(frozen=True)
class Totals:
    """Sums over the experiments of one profile."""

    attempts: Mapping[str, int]
    """That have ended, by outcome."""
    proxies: int
    """With a reward, and with a known duration: training and evaluation, over all attempts."""
    proxies_within: Sequence[int]
    """How many of them took at most each of DURATION_BOUNDS_SECONDS."""
    proxy_seconds: float
    """All together."""


def read_totals(session: Session) -> dict[str, Totals]:
    """Over all experiments, by profile."""
    return {
        profile: Totals(
            attempts=_named(sums, "attempts."),
            proxies=int(sums["proxies"]),
            proxies_within=[int(sums[f"within.{bound}"]) for bound in DURATION_BOUNDS_SECONDS],
            proxy_seconds=sums["seconds"],
        )
        for profile, sums in sorted(_read(session, _count_attempts, _sum_durations).items())
    }


def count_live_trials(session: Session) -> dict[TrialState, int]:
    """Trials of running and paused experiments by state."""
    sums = sum(_read(session, _count_states, only_live=True).values(), Counter[str]())
    return cast("dict[TrialState, int]", _named(sums, "trials."))


def find_stretch(session: Session) -> Stretch | None:
    """Final trials that are to be added to an experiment's tally; None where there are none, or only few."""
    for experiment_id, state, next_number, until in session.execute(_SHORT).all():
        first_open = session.scalar(_FIRST_OPEN, {"experiment_id": experiment_id, "until": until})
        end = min(next_number if first_open is None else first_open, until + MOST_AT_ONCE)
        if end - until >= LEAST_AT_ONCE or (end > until and state in FINAL_EXPERIMENT_STATES):
            return Stretch(experiment_id, until, end)
    return None


def add_up(session: Session, stretch: Stretch) -> Counter[str]:
    """Sums over final trials."""
    counted = [count(session, stretch.condition) for count in (_count_states, _count_attempts, _sum_durations)]
    return Counter({name: value for found in counted for sums in found.values() for name, value in sums.items()})


def store(session: Session, stretch: Stretch, sums: Counter[str]) -> None:
    """Let a tally reach to the end of a stretch, whose sums these are; for the leader alone."""
    if session.get(Experiment, stretch.experiment_id) is None:  # deleted meanwhile
        return
    tally = session.get(Tally, stretch.experiment_id)
    if tally is None:
        session.add(Tally(experiment_id=stretch.experiment_id, until=stretch.end, sums=dict(sums)))
    elif tally.until == stretch.start:
        tally.until, tally.sums = stretch.end or 0, dict(Counter(tally.sums) + sums)


Count = Callable[[Session, ColumnElement[bool]], dict[str, Counter[str]]]
"""Sums by name over the trials of a condition, by profile."""


def _read(session: Session, *counts: Count, only_live: bool = False) -> dict[str, Counter[str]]:
    """Sums by profile: what is stored, and what has come since."""
    rows = select(Experiment.id, Experiment.profile, Experiment.next_number, _UNTIL, Tally.sums).outerjoin(
        Tally, Tally.experiment_id == Experiment.id
    )
    if only_live:
        rows = rows.where(Experiment.state.not_in(FINAL_EXPERIMENT_STATES))
    found: dict[str, Counter[str]] = {}
    rest: list[ColumnElement[bool]] = []
    for experiment_id, profile, next_number, until, sums in session.execute(rows):
        found.setdefault(profile, Counter()).update(sums or {})
        if next_number > until:
            rest.append(Stretch(experiment_id, until).condition)
    for start in range(0, len(rest), _EXPERIMENTS_AT_ONCE):
        is_in = or_(*rest[start : start + _EXPERIMENTS_AT_ONCE])  # each found by the index of its numbers
        for count in counts:
            for profile, sums in count(session, is_in).items():
                found[profile].update(sums)
    return found


def _count_states(session: Session, is_in: ColumnElement[bool]) -> dict[str, Counter[str]]:
    return _by_profile(session, _STATES.where(is_in).group_by(Experiment.profile, Trial.state))


def _count_attempts(session: Session, is_in: ColumnElement[bool]) -> dict[str, Counter[str]]:
    return _by_profile(session, _OUTCOMES.where(is_in).group_by(Experiment.profile, Attempt.outcome))


def _by_profile(session: Session, query: Select[Any, Any, Any]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for profile, name, count in session.execute(query):
        found.setdefault(profile, Counter())[name] = count
    return found


def _sum_durations(session: Session, is_in: ColumnElement[bool]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for profile, count, seconds, *within in session.execute(_DURATIONS.where(is_in).group_by(Experiment.profile)):
        names = [f"within.{bound}" for bound in DURATION_BOUNDS_SECONDS]
        found[profile] = Counter({"proxies": count, "seconds": seconds, **dict(zip(names, within, strict=True))})
    return found


def _named(sums: Counter[str], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): int(value) for name, value in sums.items() if name.startswith(prefix)}
