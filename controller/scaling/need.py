"""How many trials want to run at the same time, by resource class."""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paploss.controller.store.models import Search, Trial


def count_wanted(session: Session) -> Mapping[int, int]:
    """Trials that run or could run now, by GPUs of one trial; a search counts no more than it may run at once."""
    rows = session.execute(
        select(Search.id, Search.gpus, Search.max_running_trials, func.count())
        .join(Trial, Trial.search_id == Search.id)
        .where(Search.state == "running", Trial.state.in_(("queued", "running")))
        .group_by(Search.id, Search.gpus, Search.max_running_trials)
    )
    wanted: Counter[int] = Counter()
    for _, gpus, cap, trials in rows:
        wanted[gpus] += trials if cap is None else min(trials, cap)
    return wanted
