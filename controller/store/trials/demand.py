"""Queued trials: which are next, and how many workers they could use."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paploss.client.projects import DEFAULT_PROJECT
from paploss.client.states import OPEN_TRIAL_STATES
from paploss.controller.store.tables import Experiment, Trial
from paploss.controller.store.trials.quotas import count_running, read_caps
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
    project: str = DEFAULT_PROJECT


def find_rooms(session: Session, present: set[str]) -> dict[str, int]:
    """How many more trials of each project may run, of those with a limit. `present`: as of `find_claimants`."""
    caps = read_caps(session)
    if not caps:
        return {}
    running = count_running(session)
    entries = Counter(map(experiment_of, present))
    entered: Counter[str] = Counter()
    for experiment_id, project in session.execute(
        select(Experiment.id, Experiment.project).where(Experiment.id.in_(entries), Experiment.project.in_(caps))
    ):
        entered[project] += entries[experiment_id]
    return {project: max(0, cap - running.get(project, 0) - entered[project]) for project, cap in caps.items()}


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
            claimants.append(Claimant(experiment.id, experiment.priority, served, room, absent, experiment.project))
    return claimants


def count_wanted(session: Session) -> Mapping[int, int]:
    """Trials that run or could run now, by GPUs of one trial; an experiment and a project count no more than they may
    run at once, the oldest experiment of a project first."""
    columns = (Experiment.id, Experiment.project, Experiment.gpus, Experiment.max_running_trials)
    rows = session.execute(
        select(*columns, func.count())
        .join(Trial, Trial.experiment_id == Experiment.id)
        .where(Experiment.state == "running", Trial.state.in_(OPEN_TRIAL_STATES))
        .group_by(*columns)
        .order_by(Experiment.id)
    )
    rooms = dict(read_caps(session))
    wanted: Counter[int] = Counter()
    for _, project, gpus, cap, trials in rows:
        count = min(trials, trials if cap is None else cap, rooms.get(project, trials))
        if project in rooms:
            rooms[project] -= count
        wanted[gpus] += count
    return wanted


def _count_running(session: Session, experiment_ids: Sequence[str]) -> Mapping[str, int]:
    rows = session.execute(
        select(Trial.experiment_id, func.count())
        .where(Trial.state == "running", Trial.experiment_id.in_(experiment_ids))
        .group_by(Trial.experiment_id)
    )
    return dict(rows.all())
