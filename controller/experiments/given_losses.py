"""Comparisons and trainings: given losses, each over the same seeds.

Two stages. `rates`, where it is requested: each loss trains briefly with each factor on the learning rate.
`trainings`: each loss trains at its chosen rate with every seed. The choice, the first trainings that follow from it
and the new stage are one transaction.

Trainings are proposed a part at a time, so that no transaction is long: there may be thousands. A comparison may go
on with more seeds than were asked for, until it is decided: see `comparison_race`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from paploss.client.loss_choice import LossChoice
from paploss.client.specs import ComparisonSpec, TrainingSpec
from paploss.client.states import Stage
from paploss.controller.experiments.comparison_race import next_trainings, unused_seeds
from paploss.controller.experiments.rate_checks import choose_rate
from paploss.controller.experiments.rate_trials import ByLabel, LossAtRate, propose_checks, read_results
from paploss.controller.search.scheduling import Pace
from paploss.controller.store.database import Session
from paploss.controller.store.documents import LOSS, TrialPlan
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.events import record
from paploss.controller.store.experiments import fail_experiment, find_experiment, succeed_experiment
from paploss.controller.store.tables import Experiment
from paploss.controller.store.trials.counts import Counts, count_ended, count_of_kind
from paploss.controller.store.trials.proposals import NewTrial, add_trials, list_first, trials_by_label
from paploss.jobs.losses import LossSpec
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import MOST_RATE_FACTOR, JobKind
from paploss.jobs.wording import counted

Spec = ComparisonSpec | TrainingSpec

PART: Final = 500
"""Trainings that one transaction proposes, at least one of each loss; the next follow while fewer are open."""


@dataclass(frozen=True)
class GivenLosses:
    """An experiment whose losses are given; see `paploss.controller.experiments.kinds.Kind`."""

    job_kind: Literal["compare", "final"]
    """Of its trainings."""

    def first_stage(self, spec: Spec) -> Stage:
        """The check of learning rates, where there is one."""
        return "rates" if spec.learning_rates else "trainings"

    def count_planned(self, spec: Spec) -> int:
        """Every loss with every seed, and before that with every factor."""
        return len(spec.losses) * (len(spec.seeds) + len(spec.learning_rates))

    def count_rounds(self, spec: Spec) -> None:
        """It has none."""

    def open(self, session: Session, experiment: Experiment, spec: Spec) -> None:
        """Propose the trials of the first stage."""
        losses = [(choice.label, *_resolve_loss(session, choice, spec.profile)) for choice in spec.losses]
        for label, _, factor in losses:
            if factor * max(spec.learning_rates, default=1.0) > MOST_RATE_FACTOR:
                raise ConflictError(
                    f"losses[{label}]: expected a rate of at most {MOST_RATE_FACTOR:g} times the profile's"
                )
        if spec.learning_rates:
            self._check_rates(session, experiment, spec, losses, {})
        else:
            self._propose(session, experiment, spec, losses)
        message = f"{counted(len(losses), 'loss')} with {counted(len(spec.seeds), 'seed')} each"
        record(session, "experiment_started", message, experiment_id=experiment.id)

    def is_due(self, session: Session, experiment: Experiment, spec: Spec, counts: Counts, pace: Pace) -> bool:
        """When all trials of the stage have ended, or more are to be proposed."""
        return not counts.open or self._is_short(session, experiment, spec, counts, pace)

    def look_ahead(self, *_: object) -> None:
        """Nothing takes long."""

    def advance(
        self,
        session: Session,
        experiment: Experiment,
        spec: Spec,
        counts: Counts,
        pace: Pace,
        *,
        ahead: None = None,  # noqa: ARG002
    ) -> None:
        """Propose the next part, go to the next stage, or end."""
        if self._is_short(session, experiment, spec, counts, pace):
            first = list_first(session, experiment.id, self.job_kind, len(spec.losses))
            losses = [(trial.label, LOSS.read(trial.loss or {}), trial.learning_rate_factor) for trial in first]
            self._propose(session, experiment, spec, losses)
        elif counts.open:
            return
        elif experiment.stage == "rates":
            known = trials_by_label(session, experiment.id, "rate_check")
            losses = [
                (label, LOSS.read(trials[0].loss or {}), trials[0].learning_rate_factor / spec.learning_rates[0])
                for label, trials in known.items()
            ]
            if not self._check_rates(session, experiment, spec, losses, known):
                self._choose_rates(session, experiment, spec, losses, known)
        elif not self._add_seeds(session, experiment, spec):
            self._end(session, experiment)

    def plan(self, spec: Spec, job_kind: JobKind) -> TrialPlan:
        """As the request says; a check of rates is as long as a proxy, and measured on `val`.

        A given number of epochs applies to the request's own schedule.
        """
        is_check = job_kind == "rate_check"
        overrides = spec.overrides
        if is_check and spec.schedule != "proxy":
            overrides = overrides.model_copy(update={"epochs": None})
        return TrialPlan(
            schedule="proxy" if is_check else spec.schedule,
            overrides=overrides,
            evaluate_split="val" if is_check else spec.evaluate_split,
            timeout_seconds=spec.timeout_seconds,
            max_failed_attempts=spec.budgets.max_failed_attempts,
            max_preemptions=spec.budgets.max_preemptions,
        )

    def _check_rates(
        self, session: Session, experiment: Experiment, spec: Spec, losses: Sequence[LossAtRate], known: ByLabel
    ) -> bool:
        """Propose the next trainings of the check of learning rates; False where every rate is known."""
        return propose_checks(
            session,
            experiment,
            losses,
            known,
            factors=spec.learning_rates,
            seeds=unused_seeds(spec.seeds),
            plan=self.plan(spec, "rate_check"),
        )

    def _choose_rates(
        self, session: Session, experiment: Experiment, spec: Spec, losses: Sequence[LossAtRate], known: ByLabel
    ) -> None:
        seeds = unused_seeds(spec.seeds)
        chosen = [
            (label, loss, choose_rate(read_results(known[label], seeds), default)) for label, loss, default in losses
        ]
        self._propose(session, experiment, spec, chosen)
        experiment.stage = "trainings"
        session.flush()
        factors = ", ".join(f"{label} {factor:g}" for label, _, factor in chosen)
        record(session, "rates_chosen", f"factors on the learning rate: {factors}", experiment_id=experiment.id)

    def _propose(self, session: Session, experiment: Experiment, spec: Spec, losses: Sequence[LossAtRate]) -> None:
        """Propose the next trainings, in an order that is fixed by the request.

        All losses have their first seed before any has its second, so that an unfinished comparison is fair as well.
        """
        plan, begin = self.plan(spec, self.job_kind), count_of_kind(session, experiment.id, self.job_kind)
        trials = [
            NewTrial(kind=self.job_kind, label=label, loss=loss, seed=seed, learning_rate_factor=factor, plan=plan)
            for seed, (label, loss, factor) in itertools.islice(
                itertools.product(spec.seeds, losses), begin, begin + PART
            )
        ]
        add_trials(session, experiment, trials)
        session.flush()

    def _add_seeds(self, session: Session, experiment: Experiment, spec: Spec) -> bool:
        """Propose a part of the trainings with further seeds; False where there are none."""
        if not isinstance(spec, ComparisonSpec) or spec.most_seeds is None:
            return False
        by_label = trials_by_label(session, experiment.id, self.job_kind)
        rewards = {
            label: {trial.seed: trial.reward for trial in trials if trial.reward is not None}
            for label, trials in by_label.items()
        }
        proposed = {(label, trial.seed) for label, trials in by_label.items() for trial in trials}
        more, plan = next_trainings(spec, rewards, proposed)[:PART], self.plan(spec, self.job_kind)
        trials = [
            NewTrial(
                kind=self.job_kind,
                label=label,
                loss=LOSS.read(by_label[label][0].loss or {}),
                seed=seed,
                learning_rate_factor=by_label[label][0].learning_rate_factor,
                plan=plan,
            )
            for label, seed in more
        ]
        add_trials(session, experiment, trials)
        if more:
            labels, seeds = dict(more), {seed for _, seed in more}
            message = f"not decided yet: seeds {', '.join(map(str, sorted(seeds)))} for {', '.join(labels)}"
            record(session, "seeds_added", message, experiment_id=experiment.id)
        return bool(more)

    def _is_short(self, session: Session, experiment: Experiment, spec: Spec, counts: Counts, pace: Pace) -> bool:
        """Whether trainings are still to be proposed, and what is open would not keep the workers busy for long."""
        if experiment.stage != "trainings" or counts.open >= max(PART, 2 * (pace.workers + pace.ended)):
            return False
        return count_of_kind(session, experiment.id, self.job_kind) < len(spec.losses) * len(spec.seeds)

    def _end(self, session: Session, experiment: Experiment) -> None:
        total, rewarded = count_ended(session, experiment.id, self.job_kind)
        if not rewarded:
            reason = "no training ended with a result; see the trials' errors"
            fail_experiment(session, experiment, reason)
            return
        succeed_experiment(session, experiment, f"{rewarded} of {total} trainings have a result")


def _resolve_loss(session: Session, choice: LossChoice, profile: str) -> tuple[LossSpec, float]:
    """The loss, and the factor on the learning rate that it was found with, or that the request names."""
    if (loss := choice.find_loss(profile)) is not None:
        return loss, choice.learning_rate_factor or 1.0
    search = find_experiment(session, choice.search or "")
    if search is None or search.kind != "search":
        raise NotFoundError(f"losses[{choice.label}].search: there is no search {choice.search}")
    if search.best is None:
        raise ConflictError(f"losses[{choice.label}].search: search {search.id} ({search.state}) has no best loss yet")
    if search.profile not in PROFILES or PROFILES[search.profile].heads != PROFILES[profile].heads:
        raise ConflictError(f"losses[{choice.label}].search: a loss for {search.profile} does not fit {profile}")
    factor = choice.learning_rate_factor or search.best.get("learning_rate_factor", 1.0)
    return LOSS.read(search.best["loss"]), float(factor)
