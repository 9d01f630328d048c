"""The rounds of a search: propose trials, and update the policy from their rewards.

What to do next is decided by `paploss.controller.search.scheduling` from counts; here the counts are read and the
decision is carried out. Everything random follows from (seed, version, index), and updates commit together with the
proposals that follow from them, so a controller killed at any point comes to the same rows when it starts again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import Integer, Row, bindparam, or_, select, update
from sqlalchemy.orm import Session

from paploss.client.specs import SearchSpec
from paploss.controller.loop.confirmation import start_confirmation
from paploss.controller.loop.counts import UNCONSUMED, Counts
from paploss.controller.loop.jobs import parse_search, proxy_seed, search_space
from paploss.controller.search.algorithm import Algorithm, Sample
from paploss.controller.search.catalogue import create
from paploss.controller.search.policy import PolicyState
from paploss.controller.search.scheduling import Action, Fail, Finish, Progress, Propose, Schedule, Update, decide
from paploss.controller.store.database import now, table_of
from paploss.controller.store.events import record
from paploss.controller.store.models import Round, Search, Trial
from paploss.controller.store.searches import NewTrial, add_trials, end_search

# Of bare tables and made once, as what building one costs is more than what running it does.
_TRIALS, _ROUNDS = table_of(Trial), table_of(Round)
_READY = (
    select(_TRIALS.c.id, _TRIALS.c.theta, _TRIALS.c.reward, _TRIALS.c.round)
    .where(_TRIALS.c.search_id == bindparam("search_id"), *UNCONSUMED, _TRIALS.c.reward.is_not(None))
    .limit(bindparam("count", type_=Integer))
)
_READY_IN_ORDER = _READY.order_by(_TRIALS.c.number)
_READY_IN_TIME = _READY.order_by(_TRIALS.c.finished_at, _TRIALS.c.number)
_VERSIONS = select(_ROUNDS.c.number, _ROUNDS.c.mu, _ROUNDS.c.sigma).where(
    _ROUNDS.c.search_id == bindparam("search_id"), _ROUNDS.c.number.in_(bindparam("numbers", expanding=True))
)
_CONSUME = (
    update(_TRIALS)
    .where(
        _TRIALS.c.search_id == bindparam("its_search"),
        *UNCONSUMED,
        or_(
            _TRIALS.c.id.in_(bindparam("ids", expanding=True)),
            _TRIALS.c.reward.is_(None),  # those that ended without one have been reckoned with as well
        ),
    )
    .values(consumed_round=bindparam("version", type_=Integer))
)


@dataclass(frozen=True)
class Pace:
    """How fast the trials of a search go."""

    workers: int
    """Trials that the live workers can run at the same time."""
    ended: int
    """Trials that have ended since the last look."""


def next_action(search: Search, spec: SearchSpec, counts: Counts, pace: Pace) -> Action:
    """What the search has to do next."""
    schedule = Schedule(mode=spec.mode, rounds=spec.rounds, trials_per_round=spec.trials_per_round)
    progress = Progress(
        updates=search.round,
        open=counts.open,
        ready=counts.ready,
        failed=counts.lost,
        workers=pace.workers,
        ended=pace.ended,
    )
    return decide(schedule, progress)


def advance(session: Session, search: Search, counts: Counts, pace: Pace) -> None:
    """Do all that can be done now: update the policy while there are rewards for it, then propose.

    The caller holds the search's row lock and drives; `counts` are read under it.
    """
    spec = parse_search(search)
    with session.no_autoflush:  # so that each row of a round and of the search is written once, at the end
        action = _update_and_propose(session, search, spec, counts, pace)
    session.flush()
    match action:
        case Finish():
            start_confirmation(session, search, spec)
        case Fail(reason):
            end_search(session, search, "failed", reason)
            record(session, "search_failed", reason, search_id=search.id, level="error")


def _update_and_propose(session: Session, search: Search, spec: SearchSpec, counts: Counts, pace: Pace) -> Action:
    """Do so while there is something to do; returns what else there is."""
    version = _current_version(session, search, spec)
    while True:
        match action := next_action(search, spec, counts, pace):
            case Propose(count):
                _propose(session, search, spec, version, count)
                counts = replace(counts, open=counts.open + count)
            case Update(count):
                version = _update(session, search, spec, version, count)
                counts = replace(counts, ready=counts.ready - count, lost=0)
            case _:
                return action


def _propose(session: Session, search: Search, spec: SearchSpec, version: Round, count: int) -> None:
    algorithm, state = _algorithm(spec), _policy(version)
    seed = proxy_seed(spec.seed, version.number)
    indices = range(version.proposed, version.proposed + count)
    thetas = [algorithm.propose(state, spec.seed, index).tolist() for index in indices]
    trials = [
        NewTrial("proxy", seed=seed, theta=theta, round=version.number, index=index)
        for index, theta in zip(indices, thetas, strict=True)
    ]
    add_trials(session, search, trials)
    if spec.mode == "round" and version.proposed:
        message = f"round {version.number}: {count} more trials, because too few of the others have a reward"
        record(session, "trials_replaced", message, search_id=search.id, level="warning")
    version.proposed += count


def _update(session: Session, search: Search, spec: SearchSpec, version: Round, count: int) -> Round:
    """Close the version with the rewards that it gets; returns the next one."""
    ready = _READY_IN_TIME if spec.mode == "stream" else _READY_IN_ORDER
    trials = session.execute(ready, {"search_id": search.id, "count": count}).all()
    proposed_by = {"search_id": search.id, "numbers": sorted({trial.round for trial in trials})}
    policies = {row.number: _policy(row) for row in session.execute(_VERSIONS, proposed_by)}
    samples = [_sample(trial, policies) for trial in trials]
    state = _algorithm(spec).update(_policy(version), samples)

    rewards = [sample.reward for sample in samples]
    mean_reward, best_reward = float(np.mean(rewards)), max(rewards)
    version.mean_reward = mean_reward
    version.best_reward = best_reward
    version.rewards = len(rewards)
    version.closed_at = now()
    consumed = {"its_search": search.id, "version": version.number, "ids": [trial.id for trial in trials]}
    session.execute(_CONSUME, consumed)
    following = _new_version(search, state)
    session.add(following)
    search.round = state.version
    message = (
        f"round {version.number + 1} of {spec.rounds}: mean AP {100 * mean_reward:.1f}, "
        f"best {100 * best_reward:.1f} of {len(rewards)}"
    )
    record(session, "round_closed", message, search_id=search.id)
    return following


def _algorithm(spec: SearchSpec) -> Algorithm:
    return create(spec.algorithm, spec.rounds)


def _current_version(session: Session, search: Search, spec: SearchSpec) -> Round:
    version = session.get(Round, (search.id, search.round))
    if version is None:  # the very start
        version = _new_version(search, _algorithm(spec).initial_state(search_space(spec)))
        session.add(version)
    return version


def _new_version(search: Search, state: PolicyState) -> Round:
    return Round(search_id=search.id, number=state.version, mu=state.mu.tolist(), sigma=state.sigma, proposed=0)


def _policy(version: Round | Row[Any, Any, Any]) -> PolicyState:
    return PolicyState(version.number, np.asarray(version.mu), version.sigma)


def _sample(trial: Row[Any, Any, Any, Any], policies: Mapping[int, PolicyState]) -> Sample:
    if trial.theta is None or trial.reward is None or trial.round is None:
        raise ValueError(f"trial {trial.id}: expected theta, reward and round of a finished proxy")
    return Sample(np.asarray(trial.theta), trial.reward, policies[trial.round])
