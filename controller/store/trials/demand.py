"""Queued trials: which are next, and how many workers they could use."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paploss.client.states import OPEN_TRIAL_STATES
from paploss.controller.store.tables import Experiment, Trial
from paploss.jobs.ids import experiment_of


@dataclass(frozen=True)
class Claimant:
    """A running experiment with queued trials that have no entry in the queue."""

    experiment_id: str
    priority: int
    served: int
    """Its trials that run or are about to; in a tie of priority, the fewest goes first."""
    room: int
    """How many more of its trials may run."""
    trial_ids: Sequence[str]


def find_claimants(
    session: Session, gpus: int, present: set[str], limit: int, leave_out: Collection[str] = ()
) -> list[Claimant]:
    """The experiments of a resource class that want workers, each with its next trials, `limit` at most.

    `present`: ids of trials that have an entry. `leave_out`: ids of experiments that no trial is to be taken from.
    """
    is_meant = (Experiment.state == "running", Experiment.gpus == gpus, Experiment.id.not_in(leave_out))
    experiments = session.scalars(select(Experiment).where(*is_meant)).all()
    running = _count_running(session, [experiment.id for experiment in experiments])
    entries = Counter(map(experiment_of, present))
    claimants = []
    for experiment in experiments:
        entered = entries[experiment.id]
        served = running.get(experiment.id, 0) + entered
        cap = experiment.max_running_trials
        room = limit if cap is None else min(limit, cap - served)
        if room <= 0:
            continue
        trial_ids = session.scalars(
            select(Trial.id)
            .where(Trial.experiment_id == experiment.id, Trial.state == "queued")
            .order_by(Trial.number)
            .limit(room + entered)
        ).all()
        absent = [trial_id for trial_id in trial_ids if trial_id not in present]
        if absent:
            claimants.append(Claimant(experiment.id, experiment.priority, served, room, absent))
    return claimants


def count_wanted(session: Session) -> Mapping[int, int]:
    """Trials that run or could run now, by GPUs of one trial; an experiment counts no more than it may run at once."""
    rows = session.execute(
        select(Experiment.id, Experiment.gpus, Experiment.max_running_trials, func.count())
        .join(Trial, Trial.experiment_id == Experiment.id)
        .where(Experiment.state == "running", Trial.state.in_(OPEN_TRIAL_STATES))
        .group_by(Experiment.id, Experiment.gpus, Experiment.max_running_trials)
    )
    wanted: Counter[int] = Counter()
    for _, gpus, cap, trials in rows:
        wanted[gpus] += trials if cap is None else min(trials, cap)
    return wanted


def _count_running(session: Session, experiment_ids: Sequence[str]) -> Mapping[str, int]:
    rows = session.execute(
        select(Trial.experiment_id, func.count())
        .where(Trial.state == "running", Trial.experiment_id.in_(experiment_ids))
        .group_by(Trial.experiment_id)
    )
    return dict(rows.all())
