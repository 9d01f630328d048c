"""The rounds of a search: propose trials, and update the policy from their rewards.

What to do next is decided by `controller.search.scheduling` from counts; here the counts are read and the decision is
carried out. Everything random follows from (seed, version, index), and an update commits together with the proposals
that follow from it, so a controller killed at any point comes to the same rows when it starts again.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from controller.loop.confirmation import start_confirmation
from controller.loop.counts import Counts
from controller.loop.jobs import parse_search, proxy_seed, search_space
from controller.search.algorithm import Algorithm, Sample
from controller.search.catalogue import create
from controller.search.policy import PolicyState
from controller.search.scheduling import Action, Fail, Finish, Progress, Propose, Schedule, Update, Wait, decide
from controller.specs import SearchSpec
from controller.store.database import read_clock
from controller.store.events import record
from controller.store.models import Round, Search, Trial
from controller.store.searches import NewTrial, add_trials, end_search


def next_action(search: Search, spec: SearchSpec, counts: Counts, workers: int) -> Action:
    """What the search has to do next. `workers`: trials that the live workers can run at the same time."""
    schedule = Schedule(mode=spec.mode, rounds=spec.rounds, trials_per_round=spec.trials_per_round)
    progress = Progress(updates=search.round, open=counts.open, ready=counts.ready, failed=counts.lost, workers=workers)
    return decide(schedule, progress)


def advance(session: Session, search: Search, counts: Counts, workers: int) -> None:
    """Do all that can be done now, up to one update of the policy with the proposals that follow it.

    The caller holds the search's row lock and drives; `counts` are read under it.
    """
    spec = parse_search(search)
    algorithm = create(spec.algorithm, spec.rounds)
    updated = False
    while True:
        match next_action(search, spec, counts, workers):
            case Propose(count):
                _propose(session, search, spec, algorithm, count)
                counts = replace(counts, open=counts.open + count)
            case Update(count):
                if updated:
                    return  # one update a transaction; the next one follows at once
                _update(session, search, spec, algorithm, count)
                counts = replace(counts, ready=counts.ready - count, lost=0)
                updated = True
            case Finish():
                start_confirmation(session, search, spec)
                return
            case Fail(reason):
                end_search(session, search, "failed", reason)
                record(session, "search_failed", reason, search_id=search.id, level="error")
                return
            case Wait():
                return


def _propose(session: Session, search: Search, spec: SearchSpec, algorithm: Algorithm, count: int) -> None:
    version = _current_version(session, search, spec, algorithm)
    state = _policy(version)
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
    session.flush()


def _update(session: Session, search: Search, spec: SearchSpec, algorithm: Algorithm, count: int) -> None:
    version = session.get_one(Round, (search.id, search.round))
    trials = session.scalars(
        select(Trial)
        .where(*_unconsumed(search), Trial.reward.is_not(None))
        .order_by(*((Trial.finished_at, Trial.number) if spec.mode == "stream" else (Trial.number,)))
        .limit(count)
    ).all()
    policies = {
        row.number: _policy(row)
        for row in session.scalars(
            select(Round).where(Round.search_id == search.id, Round.number.in_({trial.round for trial in trials}))
        )
    }
    samples = [_sample(trial, policies) for trial in trials]
    state = algorithm.update(_policy(version), samples)

    rewards = [sample.reward for sample in samples]
    version.mean_reward = float(np.mean(rewards))
    version.best_reward = max(rewards)
    version.rewards = len(rewards)
    version.closed_at = read_clock(session)
    session.add(_new_version(search, state))
    session.execute(
        update(Trial)
        .where(Trial.id.in_([trial.id for trial in trials]))
        .values(consumed_round=version.number)
        .execution_options(synchronize_session=False)
    )
    # Those that ended without a reward have been reckoned with as well.
    session.execute(
        update(Trial)
        .where(*_unconsumed(search), Trial.reward.is_(None))
        .values(consumed_round=version.number)
        .execution_options(synchronize_session=False)
    )
    search.round = state.version
    session.flush()
    message = (
        f"round {version.number + 1} of {spec.rounds}: mean AP {100 * version.mean_reward:.1f}, "
        f"best {100 * version.best_reward:.1f} of {len(rewards)}"
    )
    record(session, "round_closed", message, search_id=search.id)


def _current_version(session: Session, search: Search, spec: SearchSpec, algorithm: Algorithm) -> Round:
    version = session.get(Round, (search.id, search.round))
    if version is None:  # the very start
        version = _new_version(search, algorithm.initial_state(search_space(spec)))
        session.add(version)
        session.flush()
    return version


def _new_version(search: Search, state: PolicyState) -> Round:
    return Round(search_id=search.id, number=state.version, mu=state.mu.tolist(), sigma=state.sigma, proposed=0)


def _policy(version: Round) -> PolicyState:
    return PolicyState(version.number, np.asarray(version.mu), version.sigma)


def _sample(trial: Trial, policies: Mapping[int, PolicyState]) -> Sample:
    if trial.theta is None or trial.reward is None or trial.round is None:
        raise ValueError(f"trial {trial.id}: expected theta, reward and round of a finished proxy")
    return Sample(np.asarray(trial.theta), trial.reward, policies[trial.round])


def _unconsumed(search: Search) -> tuple[ColumnElement[bool], ...]:
    """Proxies of the search that have ended and that no update has made use of; the partial index of that name."""
    return (
        Trial.search_id == search.id,
        Trial.kind == "proxy",
        Trial.consumed_round.is_(None),
        Trial.finished_at.is_not(None),
    )
