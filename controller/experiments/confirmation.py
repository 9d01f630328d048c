"""The end of a search: the best candidates are trained again with fresh seeds, and one is chosen.

The best of many noisy proxies is best partly by chance, so only new trainings are reported. The identity, where every
search starts, and on request the published parameters, are baselines that are measured with the same seeds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from paploss.client.specs import SearchSpec
from paploss.controller.experiments.losses import decode_loss, decode_rate, read_loss, search_space
from paploss.controller.experiments.rounds import read_best_guess
from paploss.controller.experiments.seeds import confirm_seed
from paploss.controller.search import selection
from paploss.controller.search.algorithm import Sample
from paploss.controller.store.database import Session
from paploss.controller.store.documents import OUTCOME, ConfirmedLoss, Outcome, TrialPlan
from paploss.controller.store.events import record
from paploss.controller.store.experiments import end_experiment
from paploss.controller.store.rounds import read_best_proxies
from paploss.controller.store.tables import Experiment, Trial
from paploss.controller.store.trials.proposals import NewTrial, add_trials, trials_by_label
from paploss.jobs.losses import LossSpec
from paploss.jobs.metrics import name_reward
from paploss.jobs.presets import PRESETS
from paploss.jobs.profiles import PROFILES

IDENTITY, PUBLISHED, BEST_GUESS = "identity", "published", "mean"


def start(session: Session, search: Experiment, spec: SearchSpec, plan: TrialPlan) -> None:
    """Propose the confirming trials, which train as `plan` says. The caller leads and holds the search's row lock."""
    best = read_best_proxies(session, search.id, spec.confirm.candidates)
    samples: list[Sample[Any]] = [Sample(np.asarray(t.theta), float(t.reward or 0), None) for t in best]
    candidates = selection.candidates(read_best_guess(session, search, spec), samples, spec.confirm.candidates)
    thetas = {
        BEST_GUESS if candidate.sample is None else f"trial {best[candidate.sample].number}": candidate.theta
        for candidate in candidates
    }
    thetas[IDENTITY] = search_space(spec).start()
    losses: dict[str, tuple[LossSpec, list[float] | None]] = {
        label: (decode_loss(spec, theta.tolist()), theta.tolist()) for label, theta in thetas.items()
    }
    preset = PROFILES[spec.profile].preset
    if spec.confirm.published and preset is not None:
        losses[PUBLISHED] = (PRESETS[preset], None)
    seeds = [confirm_seed(spec.seed, index) for index in range(spec.confirm.seeds)]
    trials = [
        NewTrial(
            kind="confirm",
            loss=loss,
            seed=seed,
            learning_rate_factor=1.0 if theta is None else decode_rate(spec, theta),
            plan=plan,
            label=label,
            theta=theta,
        )
        for label, (loss, theta) in losses.items()
        for seed in seeds
    ]
    add_trials(session, search, trials)
    search.stage = "confirm"
    session.flush()
    message = f"{len(candidates)} candidates with {spec.confirm.seeds} fresh seeds each"
    record(session, "confirm_started", message, experiment_id=search.id)


def conclude(session: Session, search: Experiment, spec: SearchSpec) -> None:
    """Choose the final parameters and end the search. The caller leads and holds the search's row lock."""
    by_label = trials_by_label(session, search.id, "confirm")
    measured = {label: _measure(label, of_label) for label, of_label in by_label.items()}
    candidates = [found for label, found in measured.items() if label not in (IDENTITY, PUBLISHED)]
    if not any(found.rewards for found in candidates):
        reason = "no candidate could be confirmed: every confirming trial failed; see their errors"
        end_experiment(session, search, "failed", reason)
        record(session, "experiment_failed", reason, experiment_id=search.id, level="error")
        return
    choice = selection.choose([found.rewards for found in candidates])
    chosen = candidates[choice.index]
    trial = by_label[chosen.label][0]
    theta = trial.theta or []
    outcome = Outcome(
        label=chosen.label,
        loss=read_loss(spec, trial.loss, theta),
        theta=tuple(theta),
        learning_rate_factor=trial.learning_rate_factor,
        mean=choice.mean,
        standard_error=choice.standard_error,
        interval=choice.interval,
        count=choice.count,
        schedule=spec.confirm.schedule,
        candidates=tuple(candidates),
        identity=measured[IDENTITY],
        published=measured.get(PUBLISHED),
    )
    search.best = OUTCOME.write(outcome)
    end_experiment(session, search, "succeeded")
    record(session, "experiment_succeeded", _tell(outcome, name_reward(spec.reward)), experiment_id=search.id)


def _measure(label: str, trials: Sequence[Trial]) -> ConfirmedLoss:
    rewards = {trial.seed: trial.reward for trial in trials if trial.reward is not None}
    values = list(rewards.values())
    return ConfirmedLoss(
        label=label,
        rewards=rewards,
        mean=float(np.mean(values)) if values else None,
        standard_error=float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else None,
    )


def _tell(outcome: Outcome, metric: str) -> str:
    error = "" if outcome.standard_error is None else f" ± {100 * outcome.standard_error:.1f}"
    start = "" if outcome.identity.mean is None else f"; the identity start reaches {100 * outcome.identity.mean:.1f}"
    return (
        f"best: {outcome.label} with {metric} {100 * outcome.mean:.1f}{error} over {outcome.count} fresh seeds{start}"
    )
