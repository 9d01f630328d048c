"""What nobody reports of itself: that a search has a new best, and that an experiment stands still.

The leader looks every few seconds at all running experiments. What it has told is in the database, stored together with
the event; since when an experiment stands still is known to this process alone, so after a change of leader it is told
later, never twice.
"""

import time
from typing import Final

from paploss.client.numbers import percent
from paploss.controller.store import watching
from paploss.controller.store.database import Database, Session
from paploss.controller.store.events import record
from paploss.controller.store.experiments import lock_experiment
from paploss.controller.store.leadership import Term, drive
from paploss.controller.store.reading.lists import best_trial
from paploss.jobs.metrics import name_requested

LOOK_SECONDS: Final = 10.0


class Watch:
    """One leader's look at the running experiments."""

    def __init__(self, database: Database, stalled_seconds: float) -> None:
        """`stalled_seconds`: an experiment that has not advanced for so long stands still."""
        self._database = database
        self._stalled_seconds = stalled_seconds
        self._seen: dict[str, tuple[watching.Activity, float]] = {}  # by experiment, since when by this process's clock
        self._look_at = 0.0

    def look(self, term: Term) -> None:
        """Record what is new, if the last look was LOOK_SECONDS ago.

        Raises:
            LeadershipLostError: the term has ended.
        """
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        with self._database.read() as session:
            rises = watching.find_rises(session)
            activities = watching.read_activities(session)
            stalled = watching.find_stalled(session)
        for rise in rises:
            with drive(self._database, term) as session:
                _tell_rise(session, rise)
        for experiment_id, activity in activities.items():
            still_seconds = self._measure_standstill(experiment_id, activity)
            if experiment_id in stalled and still_seconds == 0:
                with drive(self._database, term) as session:
                    _tell_advance(session, experiment_id)
            elif experiment_id not in stalled and (still_seconds or 0) >= self._stalled_seconds:
                with drive(self._database, term) as session:
                    _tell_standstill(session, experiment_id, activity, still_seconds or 0)
        self._seen = {each: self._seen[each] for each in activities}

    def forget(self) -> None:
        """Measure anew: nobody has looked for a while."""
        self._seen, self._look_at = {}, 0.0

    def _measure_standstill(self, experiment_id: str, activity: watching.Activity) -> float | None:
        """For how many seconds it has not advanced; 0 where it just has, None at the first look."""
        seen = self._seen.get(experiment_id)
        if seen is not None and seen[0] == activity:
            return time.monotonic() - seen[1]
        self._seen[experiment_id] = activity, time.monotonic()
        return None if seen is None else 0


def _tell_rise(session: Session, rise: watching.Rise) -> None:
    search = lock_experiment(session, rise.experiment_id)
    if search.state != "running":  # its end tells more
        return
    watching.read_watch_state(session, search.id).best_reward = rise.reward
    best = best_trial(session, search.id)
    if rise.before is None or best is None:
        return
    metric = name_requested(search.spec)
    message = f"new best: trial {best.number} with {metric} {percent(rise.reward)}, after {percent(rise.before)}"
    record(session, "new_best", message, experiment_id=search.id)


def _tell_standstill(session: Session, experiment_id: str, activity: watching.Activity, seconds: float) -> None:
    if lock_experiment(session, experiment_id).state != "running":
        return
    watching.set_stalled(session, experiment_id, is_stalled=True)
    message = (
        f"no trial has begun, advanced or ended for {seconds / 60:.0f} minutes; "
        f"{activity.queued} wait for a worker, {activity.running} run"
    )
    record(session, "experiment_stalled", message, experiment_id=experiment_id, level="warning")


def _tell_advance(session: Session, experiment_id: str) -> None:
    lock_experiment(session, experiment_id)
    watching.set_stalled(session, experiment_id, is_stalled=False)
    record(session, "experiment_advancing", "advances again", experiment_id=experiment_id)
