"""The rounds of a search: propose trials, and update the algorithm's state from their rewards.

What to do next is decided by `paploss.controller.search.scheduling` from counts; here the decision is carried out.
Everything random follows from (seed, version, index), and what an algorithm knew follows from the rows, so a controller
killed at any point produces the same rows when it restarts.

An algorithm that learns from the whole history may take long for a proposal. Its proposals are made ahead: from rows
that are read without a lock, outside of any transaction; `advance` then stores them if the search still stands where it
stood. A policy proposes in the transaction of the update before it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from paploss.client.algorithms import PpoSettings
from paploss.client.numbers import percent
from paploss.client.specs import SearchSpec
from paploss.controller.experiments.algorithms import create
from paploss.controller.experiments.losses import decode_loss, decode_rate, search_space
from paploss.controller.experiments.promotions import find_due, find_rungs, first_length, make_promotions
from paploss.controller.experiments.seeds import proxy_seed
from paploss.controller.experiments.starts import read_earlier, starting_points
from paploss.controller.search.algorithm import NOTHING_KNOWN, Algorithm, History, Sample
from paploss.controller.search.budget import count_affordable
from paploss.controller.search.scheduling import (
    MOST_AT_ONCE,
    Action,
    Fail,
    Finish,
    Pace,
    Promote,
    Propose,
    SearchProgress,
    SearchSchedule,
    Update,
    Wait,
    decide,
)
from paploss.controller.search.screen import Proposal, is_screened, redraw
from paploss.controller.search.space import Vector
from paploss.controller.store import rounds as store
from paploss.controller.store.database import Session
from paploss.controller.store.documents import TrialPlan
from paploss.controller.store.events import record
from paploss.controller.store.experiments import fail_experiment
from paploss.controller.store.tables import Experiment, Round
from paploss.controller.store.trials.counts import Counts, count_of_kind
from paploss.controller.store.trials.proposals import NewTrial, add_trials
from paploss.controller.store.trials.quotas import estimate_gpu_use, read_gpu_budget
from paploss.controller.store.trials.spending import count_gpus, estimate_trial_seconds, read_spending
from paploss.jobs.metrics import name_reward
from paploss.jobs.wording import counted

LOOK_AHEAD_SECONDS: Final = 2.0
"""How long proposals are made ahead at once: the leader's term has to outlast it, and other experiments wait."""

MOST_PROMOTIONS: Final = 1000
"""Rewards of promotions that one update takes beside its own; more wait for the next."""


@dataclass(frozen=True, eq=False)
class Ahead:
    """Proposals made before the search's row was locked, and where the search stood then."""

    version: int
    number: int
    """Of the first of these trials."""
    proposals: tuple[Proposal, ...]


def next_action(session: Session, search: Experiment, spec: SearchSpec, counts: Counts, pace: Pace) -> Action:
    """What the search has to do next; at the end of its budget, one update from all that is left."""
    if search.stage == "closing":
        if counts.open:
            return Wait()
        if counts.ready >= 2:
            return Update(counts.ready)
        if not (counts.ready or search.round):
            return Fail("its budget was spent before a trial of its rounds had a reward: there is nothing to confirm")
        return Finish()
    rungs = find_rungs(session, search, spec)
    progress = SearchProgress(
        updates=search.round,
        open=counts.open,
        ready=counts.ready,
        unrewarded=counts.unrewarded,
        workers=pace.workers,
        ended=pace.ended,
        due=sum(find_due(spec, rungs).values()),
        promotions=sum(rung.open for rung in rungs.values()),
    )
    return decide(_schedule(spec), progress)


def _schedule(spec: SearchSpec) -> SearchSchedule:
    """As asked for; no more trials are open at once than a policy that leaves old ones out would learn from."""
    bound = {"max_staleness": spec.algorithm.max_staleness} if isinstance(spec.algorithm, PpoSettings) else {}
    return SearchSchedule(mode=spec.mode, rounds=spec.rounds, trials_per_round=spec.trials_per_round, **bound)


def look_ahead(
    session: Session, search: Experiment, spec: SearchSpec, counts: Counts, pace: Pace
) -> Callable[[], Ahead] | None:
    """The proposals that `advance` will ask for, to be computed without the session; none where it makes its own.

    After LOOK_AHEAD_SECONDS it is fewer, at least one: the others follow in the next look.
    """
    algorithm, state = read_algorithm(session, search, spec)
    action = next_action(session, search, spec, counts, pace)
    if not (algorithm.reads_history and isinstance(action, Propose)):
        return None
    version = store.find_version(session, search.id, search.round)
    first = version.proposed if version else 0
    number, count, known = search.next_number, action.count, read_history(session, search)

    def compute() -> Ahead:
        history, give_up_at = known, time.monotonic() + LOOK_AHEAD_SECONDS
        proposals: list[Proposal] = []
        for index in range(first, first + count):
            if proposals and time.monotonic() >= give_up_at:
                break
            proposal = propose(algorithm, state, spec, index, history)
            proposals.append(proposal)
            pending = (*history.pending, proposal.theta)
            history = replace(history, pending=pending, proposed=history.proposed + 1)
        return Ahead(state.version, number, tuple(proposals))

    return compute


def advance(
    session: Session,
    search: Experiment,
    spec: SearchSpec,
    counts: Counts,
    *,
    pace: Pace,
    plan: TrialPlan,
    ahead: Ahead | None = None,
) -> bool:
    """Update while there are enough rewards, then propose; True once all rounds are done, or the budget is spent.

    The caller holds the search's row lock; `counts` are read under it. `plan`: how its proxies train. `ahead`: what
    `look_ahead` has made; where it does not fit any more, an algorithm that needs it proposes nothing in this call.
    """
    with session.no_autoflush:  # so that each row of a round and of the search is written once, at the end
        action = _Rounds(session, search, spec, plan, ahead).go_on(counts, pace)
    session.flush()
    if isinstance(action, Fail):
        fail_experiment(session, search, action.reason)
    return isinstance(action, Finish)


def read_algorithm(session: Session, search: Experiment, spec: SearchSpec) -> tuple[Algorithm[Any], Any]:
    """The algorithm of a search that has begun, with its newest state."""
    starts, earlier = starting_points(spec), read_earlier(session, search)
    algorithm = create(spec.algorithm, spec.rounds, starts=starts, earlier=earlier)
    newest = store.find_version(session, search.id, search.round)
    if newest is None:
        return algorithm, algorithm.initial_state(search_space(spec))
    return algorithm, algorithm.load(store.read_state(newest))


def read_best_guess(session: Session, search: Experiment, spec: SearchSpec) -> Vector:
    """The theta [D] that the algorithm takes for the best, from all that it knows."""
    algorithm, state = read_algorithm(session, search, spec)
    return algorithm.best_guess(state, read_history(session, search))


def read_history(session: Session, search: Experiment) -> History:
    """What the newest version knows when it proposes the next trial."""
    return history_of(store.read_proposed(session, search.id, search.next_number))


def history_of(trials: Sequence[store.ProposedTrial]) -> History:
    """What a version knows, of the trials that were proposed before, by their numbers."""
    finished: list[Sample[Any]] = [
        Sample(
            np.asarray(trial.theta),
            trial.reward,
            None,
            trial.seed,
            trial.succeeded,
            trial.consumed_by,
            trial.length,
        )
        for trial in trials
        if trial.consumed_by is not None and trial.reward is not None
    ]
    pending = [np.asarray(trial.theta) for trial in trials if trial.consumed_by is None]
    proposed = sum(not trial.is_promotion for trial in trials)
    return History(tuple(sorted(finished, key=lambda each: each.consumed_by or 0)), tuple(pending), proposed)


def propose(algorithm: Algorithm[Any], state: Any, spec: SearchSpec, index: int, history: History) -> Proposal:
    """The `index`-th trial of this state, screened where the request asks for it."""
    if not (spec.screen and is_screened(spec.seed, state.version, index)):
        return Proposal(algorithm.propose(state, spec.seed, index, history))

    def draw(seed: int) -> Vector:
        return algorithm.propose(state, seed, index, history, screened=True)

    return redraw(search_space(spec), draw, spec.seed)


class _Rounds:
    """One search in one transaction."""

    def __init__(
        self, session: Session, search: Experiment, spec: SearchSpec, plan: TrialPlan, ahead: Ahead | None
    ) -> None:
        self._session, self._search, self._spec, self._plan, self._ahead = session, search, spec, plan, ahead
        self._spent = ""  # the budget that decides how much is proposed
        self._algorithm, self._state = read_algorithm(session, search, spec)
        self._version = store.find_version(session, search.id, search.round) or self._add_version()

    def go_on(self, counts: Counts, pace: Pace) -> Action:
        """Update and propose while there is something to do, one part of many proposals; returns what else there is."""
        while True:
            match action := next_action(self._session, self._search, self._spec, counts, pace):
                case Propose(wanted):
                    count = self._count_affordable(wanted, counts)
                    if count == 0:
                        self._close()
                        continue
                    proposals = self._make_proposals(count)
                    if not proposals:
                        return action
                    self._add(proposals)
                    counts = replace(counts, open=counts.open + len(proposals))
                    if count == MOST_AT_ONCE:
                        return action
                case Promote(wanted):
                    count = self._count_affordable(wanted, counts)
                    if count == 0:
                        self._close()
                        continue
                    self._promote(count)
                    counts = replace(counts, open=counts.open + count)
                case Update(count):
                    self._update(count)
                    counts = replace(counts, ready=counts.ready - count, unrewarded=0)
                case Finish():
                    self._learn_the_rest()
                    return action
                case _:
                    return action

    def _count_affordable(self, wanted: int, counts: Counts) -> int:
        """How many of the wanted trials fit into the search's budget and its project's.

        The search's budget is that of its proxies. Its own trials say how long one takes: others of the project may be
        trainings a hundred times as long.
        """
        session, search, spec = self._session, self._search, self._spec
        gpu_hours = read_gpu_budget(session, search.project)
        if spec.worker_hours is None and gpu_hours is None:
            return wanted
        spent = read_spending(session, search.id, "proxy")
        mean = estimate_trial_seconds(session, search.id, spent)
        found: list[tuple[int | None, str]] = []
        if spec.worker_hours is not None:
            count = count_affordable(3600 * spec.worker_hours, spent.seconds, mean, counts.open)
            found.append((count, f"worker_hours ({spec.worker_hours:g})"))
        if gpu_hours is not None:
            used = estimate_gpu_use(session, search.project)
            count = count_affordable(3600 * gpu_hours, used, mean and mean * count_gpus(search.gpus), 0)
            found.append((count, f"the GPU-hours of the project {search.project!r} ({gpu_hours:g})"))
        for count, budget in found:
            if count is not None and count < wanted:
                wanted, self._spent = count, budget
        return wanted

    def _close(self) -> None:
        """Propose nothing more."""
        search, spec = self._search, self._spec
        search.stage = "closing"
        if search.planned is not None:
            search.planned += count_of_kind(self._session, search.id, "proxy") - spec.proxies
        message = f"another trial would go beyond {self._spent}: no more are proposed"
        record(self._session, "budget_spent", message, experiment_id=search.id, level="warning")

    def _make_proposals(self, count: int) -> tuple[Proposal, ...]:
        """At most `count`; none where they had to be made ahead and were not."""
        version, ahead = self._version, self._ahead
        if not self._algorithm.reads_history:
            indices = range(version.proposed, version.proposed + count)
            return tuple(propose(self._algorithm, self._state, self._spec, index, NOTHING_KNOWN) for index in indices)
        if ahead is None or (ahead.version, ahead.number) != (version.number, self._search.next_number):
            return ()
        return ahead.proposals[:count]

    def _promote(self, count: int) -> None:
        """Propose longer trainings of the best trials, at most `count`."""
        trials = make_promotions(
            self._session, self._search, self._spec, self._plan, version=self._version, count=count
        )
        add_trials(self._session, self._search, trials)
        self._version.proposed += len(trials)

    def _learn_the_rest(self) -> None:
        """Have the algorithm's best guess know what no update was waiting for: promotions at the end."""
        if self._spec.lengths is not None:
            store.consume(self._session, self._version, self._read_promotions())

    def _read_promotions(self) -> Sequence[store.ReadySample]:
        """What promotions have brought since the last update."""
        return store.read_ready(self._session, self._search.id, MOST_PROMOTIONS, by_time=True, promotions=True)

    def _add(self, proposals: Sequence[Proposal]) -> None:
        spec, version, cycle = self._spec, self._version, self._algorithm.training_seeds
        trials = []
        for place, proposal in enumerate(proposals):
            theta = proposal.theta.tolist()
            turn = version.number if cycle is None else (self._search.next_number + place) % cycle
            trials.append(
                NewTrial(
                    kind="proxy",
                    loss=decode_loss(spec, theta),
                    seed=proxy_seed(spec.seed, turn),
                    learning_rate_factor=decode_rate(spec, theta),
                    plan=self._plan,
                    theta=theta,
                    round=version.number,
                    index=version.proposed + place,
                    length=first_length(spec),
                )
            )
        add_trials(self._session, self._search, trials)
        if spec.mode == "round" and version.proposed >= spec.trials_per_round:
            message = (
                f"round {version.number}: {len(proposals)} more trials, because too few of the others have a reward"
            )
            record(self._session, "trials_replaced", message, experiment_id=self._search.id, level="warning")
        version.proposed += len(proposals)
        version.screened_out += sum(proposal.screened_out for proposal in proposals)

    def _update(self, count: int) -> None:
        """Close the version with its rewards, and begin the next one."""
        ready = [*store.read_ready(self._session, self._search.id, count, by_time=self._spec.mode == "stream")]
        if self._spec.lengths is not None:
            ready += self._read_promotions()
        numbers = {sample.round for sample in ready if sample.round is not None}
        stored = store.read_states(self._session, self._search.id, numbers)
        states = {number: self._algorithm.load(state) for number, state in stored.items()}
        samples = [
            Sample(np.asarray(one.theta), one.reward, None if one.round is None else states[one.round]) for one in ready
        ]
        whole = [one.reward for one in ready if one.length == 1]
        mean, best = (float(np.mean(whole)), max(whole)) if whole else (None, None)
        store.close_version(self._session, self._version, ready, mean_reward=mean, best_reward=best)
        message = f"round {self._version.number + 1} of {self._spec.rounds}: "
        if mean is not None and best is not None:
            metric = name_reward(self._spec.reward)
            message += f"mean {metric} {percent(mean)}, best {percent(best)} of {len(whole)}"
        if shorter := len(ready) - len(whole):
            message += f"{', and ' if whole else ''}{counted(shorter, 'shorter training')}"
        self._state = self._algorithm.update(self._state, samples)
        self._version = self._add_version()
        self._search.round = self._state.version
        record(self._session, "round_closed", message, experiment_id=self._search.id)

    def _add_version(self) -> Round:
        drawn = self._algorithm.distribution(self._state)
        return store.add_version(
            self._session,
            self._search.id,
            self._state.version,
            state=self._algorithm.dump(self._state),
            centre=None if drawn is None else drawn.centre.tolist(),
            spread=None if drawn is None else drawn.spread,
        )
