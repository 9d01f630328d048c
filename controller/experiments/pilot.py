"""The first stage of a search that asks for one: a dozen trainings or two that say what the search can be worth.

The losses that the found one will have to beat are each tried at a few learning rates: the race at the end needs these
trainings anyway. Then the loss where the search starts and the best of the others train with further seeds, which shows
the noise. What follows from that is told in a sentence; a search with `pilot: ask` waits for its user then, paused.

Both steps are trials of the kind `rate_check`, apart by their seeds; what comes next follows from the rows alone.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence

from paploss.client.comparison import RateResult
from paploss.client.specs import PILOT_LOSSES, PILOT_SEEDS, RATE_FACTORS, SearchSpec
from paploss.controller.experiments.comparison import choose_rate
from paploss.controller.experiments.losses import decode_loss, search_space
from paploss.controller.experiments.pilot_report import Findings, tell
from paploss.controller.experiments.seeds import rate_check_seed
from paploss.controller.store.database import Session
from paploss.controller.store.documents import TrialPlan
from paploss.controller.store.events import record
from paploss.controller.store.experiments import end_experiment
from paploss.controller.store.tables import Experiment, Trial
from paploss.controller.store.trials.proposals import NewTrial, add_trials, trials_by_label
from paploss.jobs.losses import LossSpec
from paploss.jobs.presets import PRESETS
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import JobKind

Plan = Callable[[SearchSpec, JobKind], TrialPlan]


def read_rate_results(trials: Sequence[Trial], seed: int) -> list[RateResult]:
    """What a search's check of one loss at several learning rates has measured. `seed`: the search's."""
    check = rate_check_seed(seed)
    return [RateResult(factor=one.learning_rate_factor, ap=one.reward) for one in trials if one.seed == check]


def add_rate_checks(
    session: Session, search: Experiment, spec: SearchSpec, losses: Mapping[str, LossSpec], plan: Plan
) -> None:
    """Propose a training of each loss with each factor on the learning rate."""
    seed, check = rate_check_seed(spec.seed), plan(spec, "rate_check")
    trials = [
        NewTrial(kind="rate_check", loss=loss, seed=seed, plan=check, label=label, learning_rate_factor=factor)
        for (label, loss), factor in itertools.product(losses.items(), RATE_FACTORS)
    ]
    add_trials(session, search, trials)


def start(session: Session, search: Experiment, spec: SearchSpec, plan: Plan) -> None:
    """Propose the first step. The caller has just created the search."""
    losses = _find_losses(spec)
    add_rate_checks(session, search, spec, losses, plan)
    message = f"pilot: {len(losses)} losses at {len(RATE_FACTORS)} learning rates"
    record(session, "pilot_started", message, experiment_id=search.id)


def go_on(session: Session, search: Experiment, spec: SearchSpec, plan: Plan) -> None:
    """Do what follows the trials of a step that have all ended. The caller leads and holds the search's row lock."""
    found = _read_findings(session, search, spec)
    if not found.best:
        reason = "no training of the pilot ended with a result; see the trials' errors"
        end_experiment(session, search, "failed", reason)
        record(session, "experiment_failed", reason, experiment_id=search.id, level="error")
    elif found.trainings == len(RATE_FACTORS) * len(found.rates):
        _repeat(session, search, spec, found, plan)
    else:
        _conclude(session, search, spec, tell(spec, found))


def _find_losses(spec: SearchSpec) -> dict[str, LossSpec]:
    """The loss where the search starts, and those that it has to beat."""
    preset = PROFILES[spec.profile].preset
    start_loss = decode_loss(spec, search_space(spec).start().tolist()) if preset is None else PRESETS[preset]
    return {spec.start_label: start_loss} | dict(spec.rivals)


def _read_findings(session: Session, search: Experiment, spec: SearchSpec) -> Findings:
    by_label, check = trials_by_label(session, search.id, "rate_check"), rate_check_seed(spec.seed)
    repeated = {
        label: {one.seed: one.reward for one in trials if one.seed != check and one.reward is not None}
        for label, trials in by_label.items()
    }
    return Findings(
        start=spec.start_label,
        trainings=sum(map(len, by_label.values())),
        rates={label: read_rate_results(trials, spec.seed) for label, trials in by_label.items()},
        repeated={label: rewards for label, rewards in repeated.items() if rewards},
    )


def _repeat(session: Session, search: Experiment, spec: SearchSpec, found: Findings, plan: Plan) -> None:
    """Propose the second step: further seeds for the start and the best of the others, each at its best rate."""
    order = sorted(found.best, key=lambda label: (label != found.start, -found.best[label]))
    labels, losses, check = order[:PILOT_LOSSES], _find_losses(spec), plan(spec, "rate_check")
    trials = [
        NewTrial(
            kind="rate_check",
            loss=losses[label],
            seed=rate_check_seed(spec.seed, index),
            plan=check,
            label=label,
            learning_rate_factor=choose_rate(found.rates[label]),
        )
        for index in range(1, PILOT_SEEDS + 1)
        for label in labels
    ]
    add_trials(session, search, trials)
    message = f"pilot: {PILOT_SEEDS} further seeds for {', '.join(labels)}"
    record(session, "pilot_started", message, experiment_id=search.id)


def _conclude(session: Session, search: Experiment, spec: SearchSpec, sentence: str) -> None:
    """Tell what was found; the rounds come next, after a pause where the user decides."""
    search.stage = "rounds"
    record(session, "pilot_ended", sentence, experiment_id=search.id)
    if spec.pilot == "ask":
        search.state, search.reason = "paused", sentence
        record(session, "experiment_paused", "paused until its user decides", experiment_id=search.id)
    session.flush()
