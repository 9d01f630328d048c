"""Keeps the queues filled, and by that decides whose trial is next.

A queue holds little more than the workers will take soon: whoever waits in the database can still be overtaken by a
higher priority, or by a search that has had less. Each look compares the queued rows with the entries that are there,
so an emptied Redis is refilled and a lost entry comes back.
"""

import heapq
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paploss.controller.store.models import Search, Trial


@dataclass(frozen=True)
class Waiting:
    """A running search with queued trials that have no entry."""

    search_id: str
    priority: int
    served: int
    """Its trials that run or are about to: fewest goes first among equals in priority."""
    room: int
    """How many more of its trials may run."""
    trial_ids: Sequence[str]


def find_waiting(
    session: Session, gpus: int, present: set[str], limit: int, leave_out: Collection[str] = ()
) -> list[Waiting]:
    """The searches of a resource class that want workers, each with its next trials, `limit` at most.

    `present`: ids of trials that have an entry. `leave_out`: ids of searches that no trial is to be taken from.
    """
    is_meant = (Search.state == "running", Search.gpus == gpus, Search.id.not_in(leave_out))
    searches = session.scalars(select(Search).where(*is_meant)).all()
    running = _count_running(session, [search.id for search in searches])
    entries = Counter(trial_id.rpartition("-")[0] for trial_id in present)
    waiting = []
    for search in searches:
        entered = entries[search.id]
        served = running.get(search.id, 0) + entered
        room = limit if search.max_running_trials is None else min(limit, search.max_running_trials - served)
        if room <= 0:
            continue
        trial_ids = session.scalars(
            select(Trial.id)
            .where(Trial.search_id == search.id, Trial.state == "queued")
            .order_by(Trial.number)
            .limit(room + entered)
        ).all()
        absent = [trial_id for trial_id in trial_ids if trial_id not in present]
        if absent:
            waiting.append(Waiting(search.id, search.priority, served, room, absent))
    return waiting


def choose_next(waiting: Sequence[Waiting], count: int) -> list[str]:
    """The next `count` trials: the highest priority first, among equals whoever is served least, then the older."""
    heap = [(-search.priority, search.served, search.search_id, 0) for search in waiting]
    by_id = {search.search_id: search for search in waiting}
    heapq.heapify(heap)
    chosen: list[str] = []
    while heap and len(chosen) < count:
        priority, served, search_id, given = heapq.heappop(heap)
        search = by_id[search_id]
        chosen.append(search.trial_ids[given])
        if given + 1 < min(len(search.trial_ids), search.room):
            heapq.heappush(heap, (priority, served + 1, search_id, given + 1))
    return chosen


def _count_running(session: Session, search_ids: Sequence[str]) -> Mapping[str, int]:
    rows = session.execute(
        select(Trial.search_id, func.count())
        .where(Trial.state == "running", Trial.search_id.in_(search_ids))
        .group_by(Trial.search_id)
    )
    return dict(rows.all())
