"""Any order of claims, renewals, results, releases, expiries, pauses and cancellations, against a small model.

The model says in plain Python what ARCHITECTURE.md says in words: what each request is answered, and what is then true.
"""

import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from scenarios import (
    add_training,
    claim,
    expire,
    failed,
    finish,
    release,
    renew,
    succeeded,
)
from sqlalchemy import select

from paploss.controller.store import experiments
from paploss.controller.store.database import Database
from paploss.controller.store.errors import ConflictError, GoneError, LateResultError, StoreError
from paploss.controller.store.tables import Attempt, LateResult, Trial
from paploss.controller.store.trials import leases, transitions
from paploss.jobs.lease import ResultRequest
from paploss.jobs.spec import JobResult

TRIALS, CAP = 3, 2
MAX_FAILED_ATTEMPTS, MAX_PREEMPTIONS = 2, 1
OPEN, REWARDED = ("queued", "running"), ("succeeded", "pruned")
RESULTS = {
    "succeeded": succeeded(0.5),
    "pruned": JobResult(outcome="pruned", reward=0.125),
    "crash": failed("crash"),
    "user": failed("user"),
}
BOUNDED = settings(
    max_examples=20,
    stateful_step_count=25,
    suppress_health_check=list(HealthCheck),
)

pick = st.integers(0, 11)


@dataclass
class Claim:
    """A claim that was granted."""

    trial: int
    claim_id: uuid.UUID
    token: str
    answer: str | None = None
    """What its result or its release was answered."""


@dataclass
class ModelTrial:
    """What is to be true of a trial."""

    state: str = "queued"
    attempts: int = 0
    failed: int = 0
    preemptions: int = 0
    started: bool = False
    holder: str | None = None
    """Token of the one attempt that may still answer."""
    reward: float | None = None
    late: int = 0

    def charge_preemption(self) -> None:
        self.preemptions += 1
        self.state = "failed" if self.preemptions > MAX_PREEMPTIONS else "queued"


@dataclass
class Model:
    """What is to be true of a search."""

    state: str = "running"
    trials: list[ModelTrial] = field(default_factory=lambda: [ModelTrial() for _ in range(TRIALS)])
    claims: list[Claim] = field(default_factory=list)

    @property
    def running(self) -> int:
        return sum(each.state == "running" for each in self.trials)


class TrialLife(RuleBasedStateMachine):
    """Asks the store and the model the same, and compares."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        budgets = {"max_failed_attempts": MAX_FAILED_ATTEMPTS, "max_preemptions": MAX_PREEMPTIONS}
        losses = [{"label": "start", "preset": "identity"}]
        search = add_training(
            database, losses=losses, seeds=list(range(TRIALS)), max_running_trials=CAP, budgets=budgets
        )
        self.experiment_id = search.id
        self.ids = [f"{search.id}-{number:06d}" for number in range(TRIALS)]
        self.model = Model()

    def refuses(self, kind: type[StoreError], ask: Callable[[], object]) -> None:
        with pytest.raises(StoreError) as refusal:
            ask()
        assert type(refusal.value) is kind, refusal.value

    @rule(number=st.integers(0, TRIALS - 1))
    def claim(self, number: int) -> None:
        wanted, claim_id = self.model.trials[number], uuid.uuid4()

        def ask() -> str:
            return claim(self.database, self.ids[number], claim_id)

        if self.model.running >= CAP:
            self.refuses(ConflictError, ask)
        elif wanted.state not in OPEN:
            self.refuses(GoneError, ask)
        elif wanted.state == "running" or self.model.state != "running":
            self.refuses(ConflictError, ask)
        else:
            token = ask()
            assert token not in {each.token for each in self.model.claims}
            wanted.state, wanted.holder, wanted.started = "running", token, False
            wanted.attempts += 1
            self.model.claims.append(Claim(number, claim_id, token))

    @precondition(lambda self: self.model.claims)
    @rule(index=pick)
    def repeat_a_claim(self, index: int) -> None:
        """Its reply was lost."""
        made = self.model.claims[index % len(self.model.claims)]
        now = self.model.trials[made.trial]

        def ask() -> str:
            return claim(self.database, self.ids[made.trial], made.claim_id)

        if now.state == "running" and now.holder == made.token:
            assert ask() == made.token
        else:
            self.refuses(ConflictError, ask)

    @precondition(lambda self: self.model.claims)
    @rule(index=pick)
    def renew(self, index: int) -> None:
        made = self.model.claims[index % len(self.model.claims)]
        now = self.model.trials[made.trial]

        def ask() -> str:
            return renew(self.database, self.ids[made.trial], made.token)

        if now.holder != made.token:
            self.refuses(ConflictError, ask)
        elif now.state == "cancelled":
            assert ask() == "cancel"
        elif now.state not in OPEN:
            self.refuses(GoneError, ask)
        else:
            assert ask() == ("pause" if self.model.state == "paused" else "continue")
            if now.state == "queued" and now.started:  # it had expired, and the charge is taken back
                now.preemptions -= 1
            now.state, now.started = "running", True

    @precondition(lambda self: self.model.claims)
    @rule(index=pick, kind=st.sampled_from(sorted(RESULTS)))
    def finish(self, index: int, kind: str) -> None:
        made, result = self.model.claims[index % len(self.model.claims)], RESULTS[kind]
        now = self.model.trials[made.trial]

        def ask() -> str:
            return finish(self.database, self.ids[made.trial], made.token, result)

        if made.answer is not None:
            assert ask() == made.answer
        elif now.holder != made.token or now.state not in OPEN:
            self.refuses(LateResultError, ask)
            self._keep(made, result)
            now.late = 1  # the first of its attempt, which `_keep` has as one, if others follow
        else:
            if result.outcome == "failed":
                if now.state == "queued" and now.started:  # it had expired, and one attempt is charged once
                    now.preemptions -= 1
                now.failed += 1
                now.holder = None
                given_up = kind == "user" or now.failed >= MAX_FAILED_ATTEMPTS
                now.state = "failed" if given_up else "queued"
            else:
                now.state, now.reward = result.outcome, result.reward
            made.answer = now.state
            assert ask() == now.state

    @precondition(lambda self: self.model.claims)
    @rule(index=pick, reason=st.sampled_from(["preempted", "paused"]))
    def release(self, index: int, reason: str) -> None:
        made = self.model.claims[index % len(self.model.claims)]
        now = self.model.trials[made.trial]

        def ask() -> str:
            return release(self.database, self.ids[made.trial], made.token, reason)

        if made.answer is not None:
            assert ask() == made.answer
        elif now.holder != made.token:
            self.refuses(ConflictError, ask)
        elif now.state not in OPEN:
            self.refuses(GoneError, ask)
        else:
            if now.state == "running" and reason == "preempted" and now.started:
                now.charge_preemption()
            else:
                now.state = "queued"
            now.holder = None
            made.answer = now.state
            assert ask() == now.state

    @rule(number=st.integers(0, TRIALS - 1))
    def expire(self, number: int) -> None:
        now = self.model.trials[number]
        if now.state != "running":
            assert expire(self.database, self.ids[number]) is None
            return
        if now.started:
            now.charge_preemption()
        else:
            now.state = "queued"
        assert expire(self.database, self.ids[number]) == now.state

    @rule(number=st.integers(0, TRIALS - 1))
    def cancel_one(self, number: int) -> None:
        now = self.model.trials[number]

        def ask() -> None:
            with self.database.write() as session:
                transitions.cancel_trial(session, self.ids[number])

        if now.state in (*OPEN, "cancelled"):
            ask()
            now.state = "cancelled"
        else:
            self.refuses(ConflictError, ask)

    @rule(action=st.sampled_from(["pause", "resume", "pause", "resume", "cancel"]))
    def command(self, action: str) -> None:
        act, state = {
            "pause": (experiments.pause_experiment, "paused"),
            "resume": (experiments.resume_experiment, "running"),
            "cancel": (experiments.cancel_experiment, "cancelled"),
        }[action]

        def ask() -> None:
            with self.database.write() as session:
                act(session, self.experiment_id)

        if self.model.state == "cancelled" and action != "cancel":
            self.refuses(ConflictError, ask)
            return
        ask()
        self.model.state = state
        if action == "cancel":
            for each in self.model.trials:
                each.state = "cancelled" if each.state in OPEN else each.state

    @invariant()
    def rows_are_what_the_model_says(self) -> None:
        with self.database.read() as session:
            rows = session.scalars(
                select(Trial).where(Trial.experiment_id == self.experiment_id).order_by(Trial.number)
            ).all()
            tried = session.scalars(
                select(Attempt).where(Attempt.trial_id.in_(self.ids)).order_by(Attempt.trial_id, Attempt.number)
            ).all()
            late = Counter(session.scalars(select(LateResult.trial_id).where(LateResult.trial_id.in_(self.ids))))
        for row, wanted in zip(rows, self.model.trials, strict=True):
            assert row.state == wanted.state
            assert (row.failed_attempts, row.preemptions) == (wanted.failed, wanted.preemptions)
            assert (row.token, row.reward) == (wanted.holder, wanted.reward)
            assert late[row.id] == wanted.late
            own = [attempt for attempt in tried if attempt.trial_id == row.id]
            assert row.attempt == len(own) == wanted.attempts
            # No lease is left open, and nothing is counted twice.
            live = [attempt.token for attempt in own if attempt.outcome is None]
            assert live == ([row.token] if row.state == "running" else [])
            assert (row.reward is not None) == (row.state in REWARDED)
            assert sum(attempt.outcome in REWARDED for attempt in own) == (row.state in REWARDED)
            assert (row.finished_at is not None) == (row.state not in OPEN)

    def _keep(self, made: Claim, result: JobResult) -> None:
        request = ResultRequest(trial_id=self.ids[made.trial], token=made.token, result=result)
        with self.database.write() as session:
            leases.keep_late_result(session, request, 1, "late")


def test_any_order_of_requests_leaves_what_the_model_says(database: Database) -> None:
    # A transaction of PostgreSQL takes longer, and what differs there is the SQL, not the order of events.
    bounded = BOUNDED if database.is_sqlite else settings(BOUNDED, max_examples=6)
    run_state_machine_as_test(lambda: TrialLife(database), settings=bounded)
