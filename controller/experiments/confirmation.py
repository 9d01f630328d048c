"""The end of a search: its best candidates and their rivals race on fresh seeds, until the best loss is decided.

The best of many noisy proxies is best partly by chance, so only new trainings are reported. Beside the candidates run
the identity and the rivals that the request names, the published parameters among them. A rival trains at the rate that
suits it, which a short check finds first; candidates have the rate that they were found at.

Two stages: `rates`, where there are rivals, and `confirm`. What comes next follows from the rows of the trials alone
(`paploss.controller.search.race` replays the looks), and is one transaction with the stage. The best candidate stays
the search's best, whose parameters are exported; the verdict names the loss to use, which may be a rival.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from paploss.client.loss_choice import BEST_GUESS, IDENTITY, PUBLISHED, called
from paploss.client.numbers import confirmed
from paploss.client.specs import SearchSpec
from paploss.controller.experiments.losses import decode_loss, decode_rate, forms, read_loss, search_space
from paploss.controller.experiments.rate_checks import choose_rate
from paploss.controller.experiments.rate_trials import ByLabel, Plan, check_rival_rates, read_rival_rates
from paploss.controller.experiments.rounds import read_best_guess
from paploss.controller.experiments.seeds import confirm_seed
from paploss.controller.experiments.verdict import deliver
from paploss.controller.search import race, selection
from paploss.controller.search.algorithm import Sample
from paploss.controller.store.database import Session
from paploss.controller.store.documents import OUTCOME, ConfirmedLoss, Outcome, TrialPlan
from paploss.controller.store.events import record
from paploss.controller.store.experiments import fail_experiment, succeed_experiment
from paploss.controller.store.rounds import read_best_proxies
from paploss.controller.store.tables import Experiment, Trial
from paploss.controller.store.trials.proposals import NewTrial, add_trials, trials_by_label
from paploss.jobs.losses import APL1, LossSpec
from paploss.jobs.metrics import name_reward
from paploss.jobs.presets import published_for
from paploss.jobs.wording import counted

Entrant = tuple[list[float] | None, LossSpec, float]
"""Theta, loss and learning-rate factor."""


def start(session: Session, search: Experiment, spec: SearchSpec, plan: Plan) -> None:
    """Propose the first trials after the rounds. The caller leads and holds the search's row lock."""
    if check_rival_rates(session, search, spec, spec.rivals, plan):
        search.stage = "rates"
        session.flush()
    else:  # as after a pilot
        _start_race(session, search, spec, plan)


def go_on(session: Session, search: Experiment, spec: SearchSpec, plan: Plan) -> None:
    """Do what follows the trials of a stage that have all ended. The caller leads and holds the search's row lock."""
    if search.stage == "rates":
        if not check_rival_rates(session, search, spec, spec.rivals, plan):
            _start_race(session, search, spec, plan)
        return
    by_label = trials_by_label(session, search.id, "confirm")
    used = max(map(len, by_label.values()))
    looks = race.plan_looks(spec.confirm.seeds, spec.most_seeds)
    seeds = [confirm_seed(spec.seed, index) for index in range(looks[-1])]
    found = _find_candidates(by_label, spec)
    rewards = {label: _rewards(trials) for label, trials in by_label.items()}
    proposed = {(label, trial.seed) for label, trials in by_label.items() for trial in trials}
    group = _find_group(by_label, found, spec)
    # Where no candidate could be trained the search has failed, and further seeds of the others tell nothing of it.
    is_confirmable = any(rewards[label] for label in found)
    more = race.plan_next(rewards, seeds, looks, proposed, group) if is_confirmable else []
    if not more:
        _conclude(session, search, spec, by_label, race.judge(rewards, seeds[:used], looks, group))
        return
    confirm = plan(spec, "confirm")
    add_trials(session, search, [_repeat(spec, by_label[label][0], seed, confirm) for label, seed in more])
    labels, added = dict(more), {seed for _, seed in more}
    message = f"not decided after {counted(used, 'seed')}: {len(added)} more for {', '.join(labels)}"
    record(session, "seeds_added", message, experiment_id=search.id)


def _start_race(session: Session, search: Experiment, spec: SearchSpec, plan: Plan) -> None:
    rivals = _find_rivals(session, search, spec)
    identity = search_space(spec).start().tolist()
    others: dict[str, Entrant] = {IDENTITY: (identity, decode_loss(spec, identity), 1.0), **rivals}
    losses = _nominate(session, search, spec, list(others.values())) | others
    confirm = plan(spec, "confirm")
    trials = [
        NewTrial(
            kind="confirm", loss=loss, seed=seed, plan=confirm, label=label, theta=theta, learning_rate_factor=factor
        )
        for label, (theta, loss, factor) in losses.items()
        for seed in (confirm_seed(spec.seed, index) for index in range(spec.confirm.seeds))
    ]
    add_trials(session, search, trials)
    search.stage = "confirm"
    session.flush()
    message = f"{counted(len(losses), 'loss')} with {counted(spec.confirm.seeds, 'fresh seed')} each"
    record(session, "confirm_started", message, experiment_id=search.id)


def _find_rivals(session: Session, search: Experiment, spec: SearchSpec) -> dict[str, Entrant]:
    """The rivals, and the published parameters where they are to be measured, at the rates that suit them."""
    checks = trials_by_label(session, search.id, "rate_check")
    results = {label: read_rival_rates(checks.get(label, ()), spec) for label in (*spec.rivals, PUBLISHED)}
    usable = [label for label in spec.rivals if any(one.ap is not None for one in results[label])]
    rates = {label: choose_rate(of_label, spec.default_rate(label)) for label, of_label in results.items()}
    found: dict[str, Entrant] = {label: (None, spec.rivals[label], rates[label]) for label in usable}
    if found:
        factors = ", ".join(f"{label} {factor:g}" for label, (_, _, factor) in found.items())
        record(session, "rates_chosen", f"factors on the learning rate: {factors}", experiment_id=search.id)
    if unusable := [label for label in spec.rivals if label not in found]:
        message = f"not raced, for no training at any learning rate ended with a result: {', '.join(unusable)}"
        record(session, "rates_chosen", message, experiment_id=search.id, level="warning")
    published = published_for(spec.profile)
    if spec.confirm.published and published is not None and PUBLISHED not in spec.rivals:
        found[PUBLISHED] = (None, published, rates[PUBLISHED])
    return found


def _nominate(session: Session, search: Experiment, spec: SearchSpec, others: Sequence[Entrant]) -> dict[str, Entrant]:
    """The candidates by label.

    A loss that is raced anyway, at the same rate, is none: no seeds would decide between the two. The best guess stands
    where there is nothing else.
    """
    best = read_best_proxies(session, search.id, spec.confirm.candidates + len(others))
    samples: list[Sample[Any]] = [Sample(np.asarray(t.theta), float(t.reward or 0), None) for t in best]
    entered = [(form, factor) for _, loss, factor in others for form in forms(spec, loss)]
    nominees: dict[str, Entrant] = {}
    for candidate in selection.candidates(read_best_guess(session, search, spec), samples, len(samples) + 1):
        label = BEST_GUESS if candidate.sample is None else f"trial {best[candidate.sample].number}"
        theta = candidate.theta.tolist()
        nominees[label] = (theta, decode_loss(spec, theta), decode_rate(spec, theta))
    chosen: dict[str, Entrant] = {}
    for label, entrant in nominees.items():
        if entrant[1:] not in entered and len(chosen) < spec.confirm.candidates:
            chosen[label] = entrant
            entered.append(entrant[1:])
    return chosen or {BEST_GUESS: nominees[BEST_GUESS]}


def _repeat(spec: SearchSpec, first: Trial, seed: int, plan: TrialPlan) -> NewTrial:
    """A training of the same loss with another seed."""
    return NewTrial(
        kind="confirm",
        loss=read_loss(spec, first.loss, first.theta),
        seed=seed,
        plan=plan,
        label=first.label,
        theta=first.theta,
        learning_rate_factor=first.learning_rate_factor,
    )


def _conclude(
    session: Session, search: Experiment, spec: SearchSpec, by_label: ByLabel, standing: race.Standing | None
) -> None:
    """Choose the final parameters, deliver the verdict and end the search."""
    measured = {label: _measure(label, of_label) for label, of_label in by_label.items()}
    found = _find_candidates(by_label, spec)
    candidates = [measured[label] for label in found]
    if standing is None or not any(one.rewards for one in candidates):
        reason = "no candidate could be confirmed: every confirming trial failed; see their errors"
        fail_experiment(session, search, reason)
        return
    rewards = [one.rewards for one in candidates]
    is_found = standing.leader in found
    choice = selection.describe(rewards, found.index(standing.leader)) if is_found else selection.choose(rewards)
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
        rivals=tuple(one for label, one in measured.items() if label not in (*found, IDENTITY, PUBLISHED)),
        verdict=deliver(
            standing, max(map(len, by_label.values())), name_reward(spec.reward), _names(by_label, found, spec)
        ),
    )
    search.best = OUTCOME.write(outcome)
    succeed_experiment(session, search, _tell(outcome, name_reward(spec.reward)))


def _find_candidates(by_label: ByLabel, spec: SearchSpec) -> list[str]:
    """Labels of the losses that the search has found."""
    return [label for label in by_label if label not in (IDENTITY, PUBLISHED, *spec.rivals)]


def _find_group(by_label: ByLabel, found: Sequence[str], spec: SearchSpec) -> list[str]:
    """Labels of the losses among which no decision is needed: the found ones, and what is the same as one of them.

    There is such a one where the search has found nothing else.
    """
    losses = {label: read_loss(spec, trials[0].loss, trials[0].theta) for label, trials in by_label.items()}
    entered = [(losses[label], by_label[label][0].learning_rate_factor) for label in found]

    def is_found(label: str) -> bool:
        factor = by_label[label][0].learning_rate_factor
        return any((form, factor) in entered for form in forms(spec, losses[label]))

    return [label for label in by_label if is_found(label)]


def _names(by_label: ByLabel, found: Sequence[str], spec: SearchSpec) -> dict[str, str]:
    """What the sentence calls the losses that the search has not been given by a label of their own.

    Known losses are among the first trials of `guided`: where one stays the best, nothing was found.
    """
    known = [("the published set", published_for(spec.profile)), (APL1().label, APL1())]
    names = {IDENTITY: "the identity", PUBLISHED: "the published set"}
    for label in found:
        first = by_label[label][0]
        loss = read_loss(spec, first.loss, first.theta)
        given = [name for name, one in known if one is not None and loss in forms(spec, one)]
        name = given[0] if given and first.learning_rate_factor == 1 else "the found loss"
        names[label] = f"{name} ({called(label)})"
    return names


def _rewards(trials: Sequence[Trial]) -> dict[int, float]:
    return {trial.seed: trial.reward for trial in trials if trial.reward is not None}


def _measure(label: str, trials: Sequence[Trial]) -> ConfirmedLoss:
    rewards = _rewards(trials)
    values = list(rewards.values())
    return ConfirmedLoss(
        label=label,
        rewards=rewards,
        mean=float(np.mean(values)) if values else None,
        standard_error=float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else None,
        learning_rate_factor=trials[0].learning_rate_factor,
    )


def _tell(outcome: Outcome, metric: str) -> str:
    report = outcome.model_dump()
    over = f"{'mean ± standard deviation over ' if outcome.count > 1 else ''}{counted(outcome.count, 'fresh seed')}"
    start = "" if outcome.identity.mean is None else f"; the identity start reaches {confirmed(report['identity'])}"
    best = f"best: {called(outcome.label)} with {metric} {confirmed(report)}, {over}{start}"
    return best if outcome.verdict is None else f"{best}. {outcome.verdict.sentence}"
