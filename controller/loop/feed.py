"""Which trials enter the queue next.

A queue holds little more than the workers will take soon: a trial in the database can still be overtaken by one of
higher priority, or of an experiment that has had less. Each tick compares the queued rows with the entries that are
there, so an emptied Redis is refilled and a lost entry comes back.
"""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence

from paploss.controller.store.trials.demand import Claimant


def choose_next(claimants: Sequence[Claimant], count: int, rooms: Mapping[str, int]) -> list[str]:
    """The next `count` trials: highest priority first; ties go to the experiment served least, then to the older.

    `rooms`: how many more trials of a project may run; one that is not named has no limit.
    """
    heap = [(-each.priority, each.served, each.experiment_id, 0) for each in claimants]
    by_id = {each.experiment_id: each for each in claimants}
    heapq.heapify(heap)
    chosen: list[str] = []
    taken: Counter[str] = Counter()
    while heap and len(chosen) < count:
        priority, served, experiment_id, given = heapq.heappop(heap)
        each = by_id[experiment_id]
        if taken[each.project] >= rooms.get(each.project, count):
            continue
        taken[each.project] += 1
        chosen.append(each.trial_ids[given])
        if given + 1 < min(len(each.trial_ids), each.room):
            heapq.heappush(heap, (priority, served + 1, experiment_id, given + 1))
    return chosen
