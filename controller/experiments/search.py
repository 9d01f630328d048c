"""A search: a pilot where one is asked for, rounds of proxies, then a race of the best candidates and their rivals."""

from collections.abc import Callable

from paploss.client.estimates import count_confirmations, count_pilot
from paploss.client.specs import SearchSpec
from paploss.client.states import Stage
from paploss.controller.experiments import confirmation, pilot, rounds
from paploss.controller.experiments.starts import fix_earlier
from paploss.controller.search.scheduling import Pace, Wait
from paploss.controller.store.database import Session
from paploss.controller.store.documents import TrialPlan
from paploss.controller.store.events import record
from paploss.controller.store.tables import Experiment
from paploss.controller.store.trials.counts import Counts
from paploss.jobs.spec import JobKind
from paploss.jobs.wording import counted

_PROPOSING = ("rounds", "closing")
"""Stages in which updates are made."""


class Search:
    """See `paploss.controller.experiments.kinds.Kind`."""

    def first_stage(self, spec: SearchSpec) -> Stage:
        """The pilot where there is one, else the rounds."""
        return "pilot" if spec.has_pilot else "rounds"

    def count_planned(self, spec: SearchSpec) -> int:
        """The pilot, the proxies of all rounds, the rivals' checks of rates, and the race up to its first look."""
        return count_pilot(spec) + spec.proxies + count_confirmations(spec)

    def count_rounds(self, spec: SearchSpec) -> int:
        """As asked for."""
        return spec.rounds

    def open(self, session: Session, experiment: Experiment, spec: SearchSpec) -> None:
        """Take what it starts from, and propose the pilot's first trials; the leader proposes all others."""
        experiment.earlier = fix_earlier(session, spec)
        message = f"{counted(spec.rounds, 'round')} of {spec.trials_per_round} trials"
        record(session, "experiment_started", message, experiment_id=experiment.id)
        if spec.has_pilot:
            pilot.start(session, experiment, spec, self.plan)

    def is_due(self, session: Session, experiment: Experiment, spec: SearchSpec, counts: Counts, pace: Pace) -> bool:
        """While there are rewards for an update or trials to propose; later, when all trials of a stage have ended."""
        if experiment.stage in _PROPOSING:
            return not isinstance(rounds.next_action(session, experiment, spec, counts, pace), Wait)
        return not counts.open

    def look_ahead(
        self, session: Session, experiment: Experiment, spec: SearchSpec, counts: Counts, pace: Pace
    ) -> Callable[[], rounds.Ahead] | None:
        """Proposals of algorithms that learn from the whole history."""
        if experiment.stage != "rounds":
            return None
        return rounds.look_ahead(session, experiment, spec, counts, pace)

    def advance(
        self,
        session: Session,
        experiment: Experiment,
        spec: SearchSpec,
        counts: Counts,
        pace: Pace,
        *,
        ahead: rounds.Ahead | None = None,
    ) -> None:
        """Update and propose; at the end of the rounds check the rivals' rates, then race until the best is decided."""
        if experiment.stage in _PROPOSING:
            if rounds.advance(session, experiment, spec, counts, pace=pace, plan=self.plan(spec, "proxy"), ahead=ahead):
                confirmation.start(session, experiment, spec, self.plan)
        elif counts.open:
            return
        elif experiment.stage == "pilot":
            pilot.go_on(session, experiment, spec, self.plan)
        else:
            confirmation.go_on(session, experiment, spec, self.plan)

    def plan(self, spec: SearchSpec, job_kind: JobKind) -> TrialPlan:
        """Confirmations have the schedule that the request names, all else the proxies'; only proxies may be pruned.

        Not those of several lengths, of which most end early anyway: those that are promoted would be compared with
        trials of another length.
        """
        return TrialPlan(
            schedule=spec.confirm.schedule if job_kind == "confirm" else "proxy",
            overrides=spec.overrides,
            prune=job_kind == "proxy" and spec.prune and spec.lengths is None,
            timeout_seconds=spec.timeout_seconds,
            max_failed_attempts=spec.budgets.max_failed_attempts,
            max_preemptions=spec.budgets.max_preemptions,
        )
