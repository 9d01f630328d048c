"""The first stage of a search that asks for one: a dozen trainings or two that say what the search can be worth.

The losses that the found one will have to beat are each tried at a few learning rates (`rate_trials`): the race at the
end needs these trainings anyway. Then the loss where the search starts and the best of the others train with further
seeds, which shows the noise. What follows from that is told in a sentence; a search with `pilot: ask` waits for its
user then, paused.

All steps are trials of the kind `rate_check`, apart by their seeds; what comes next follows from the rows alone.
"""

from paploss.client.specs import PILOT_LOSSES, PILOT_SEEDS, RATE_FACTORS, SearchSpec
from paploss.controller.experiments.losses import decode_loss, search_space
from paploss.controller.experiments.pilot_report import Findings, describe
from paploss.controller.experiments.rate_trials import ByLabel, Plan, check_rival_rates, read_rival_rates
from paploss.controller.experiments.seeds import pilot_seed
from paploss.controller.search.pilot import LEAST_REWARD
from paploss.controller.store.database import Session
from paploss.controller.store.events import record
from paploss.controller.store.experiments import fail_experiment, pause_to_ask
from paploss.controller.store.tables import Experiment
from paploss.controller.store.trials.proposals import NewTrial, add_trials, trials_by_label
from paploss.jobs.losses import LossSpec
from paploss.jobs.presets import published_for
from paploss.jobs.wording import counted


def start(session: Session, search: Experiment, spec: SearchSpec, plan: Plan) -> None:
    """Propose the first step. The caller has just created the search."""
    losses = _find_losses(spec)
    check_rival_rates(session, search, spec, losses, plan)
    message = f"pilot: {counted(len(losses), 'loss')} at {len(RATE_FACTORS)} learning rates"
    record(session, "pilot_started", message, experiment_id=search.id)


def go_on(session: Session, search: Experiment, spec: SearchSpec, plan: Plan) -> None:
    """Do what follows the trials of a step that have all ended. The caller leads and holds the search's row lock."""
    by_label = trials_by_label(session, search.id, "rate_check")
    found = _read_findings(by_label, spec)
    if not found.best:
        reason = "no training of the pilot ended with a result; see the trials' errors"
        fail_experiment(session, search, reason)
    elif check_rival_rates(session, search, spec, _find_losses(spec), plan):
        message = "pilot: a second seed for the learning rates that are ahead of the profile's"
        record(session, "pilot_started", message, experiment_id=search.id)
    elif not any(one.seed in _further_seeds(spec) for trials in by_label.values() for one in trials):
        _repeat(session, search, spec, found, plan)
    else:
        _conclude(session, search, spec, describe(spec, found))


def _find_losses(spec: SearchSpec) -> dict[str, LossSpec]:
    """The loss where the search starts, and those that it has to beat."""
    start_loss = published_for(spec.profile) or decode_loss(spec, search_space(spec).start().tolist())
    return {spec.start_label: start_loss} | dict(spec.rivals)


def _further_seeds(spec: SearchSpec) -> list[int]:
    return [pilot_seed(spec.seed, index) for index in range(1, PILOT_SEEDS + 1)]


def _read_findings(by_label: ByLabel, spec: SearchSpec) -> Findings:
    further = _further_seeds(spec)
    repeated = {
        label: {one.seed: one.reward for one in trials if one.seed in further and one.reward is not None}
        for label, trials in by_label.items()
    }
    return Findings(
        start=spec.start_label,
        trainings=sum(map(len, by_label.values())),
        rates={label: read_rival_rates(trials, spec) for label, trials in by_label.items()},
        default_rates={label: spec.default_rate(label) for label in by_label},
        repeated={label: rewards for label, rewards in repeated.items() if rewards},
    )


def _repeat(session: Session, search: Experiment, spec: SearchSpec, found: Findings, plan: Plan) -> None:
    """Propose the last step: further seeds for the start and the best of the others, each at its best rate.

    What hardly trains comes last, also the start: it neither varies as losses do nor shares what a seed adds to them.
    """

    def rank(label: str) -> tuple[bool, bool, float]:
        return found.best[label] < LEAST_REWARD, label != found.start, -found.best[label]

    order = sorted(found.best, key=rank)
    labels, losses, check = order[:PILOT_LOSSES], _find_losses(spec), plan(spec, "rate_check")
    trials = [
        NewTrial(
            kind="rate_check",
            loss=losses[label],
            seed=seed,
            plan=check,
            label=label,
            learning_rate_factor=found.choose_rate(label),
        )
        for seed in _further_seeds(spec)
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
        pause_to_ask(session, search, sentence)
    session.flush()
