"""Fills a database as searches would have left it: for the page's benchmark, its tests and its screenshots.

Rewards, times and failures are made up and follow from the seed. Samples are drawn from the project's own policy while
it walks towards the published parameters, and decode to losses like any other.
"""

import hashlib
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import insert, update

from paploss.client.loss_choice import BEST_GUESS, IDENTITY
from paploss.client.notifications import Occasion, SubscriptionRequest
from paploss.client.specs import SearchSpec
from paploss.controller.experiments.creation import create
from paploss.controller.experiments.losses import decode_loss, search_space
from paploss.controller.experiments.seeds import confirm_seed, proxy_seed
from paploss.controller.search.policy import PolicyState, sample
from paploss.controller.search.space import HeadParameters
from paploss.controller.store.database import Database, read_clock, table_of
from paploss.controller.store.documents import NOTICE, OUTCOME, ConfirmedLoss, Notice, Outcome
from paploss.controller.store.notifications import subscriptions
from paploss.controller.store.tables import Attempt, Base, Delivery, Evaluation, Event, Experiment, Round, Trial, Worker
from paploss.controller.store.trials.telemetry import remember_workers
from paploss.jobs.lease import WorkerInfo
from paploss.jobs.metrics import Metrics
from paploss.jobs.presets import PRESETS

ITERATIONS = 240
TRIAL_SECONDS = 210.0
WORKERS = 8
ENVIRONMENT = {
    "python": "3.11.9",
    "torch": "2.13.0",
    "mmdet": "3.3.0",
    "mmcv": "2.1.0",
    "commit": "4f1c09e2b7a1",
    "device": "NVIDIA A100-SXM4-80GB",
}
LOG = "\n".join(
    f"iteration {iteration:3d} of {ITERATIONS}, loss {2.1 * 0.985**iteration:.3f}" for iteration in range(180, 241, 5)
)
GPU_USE = {"memory_used_bytes": 21 * 2**30, "memory_total_bytes": 80 * 2**30, "utilisation": 0.93}
CLASSES = ("platelets", "red blood cells", "white blood cells")


def fill(database: Database, spec: SearchSpec, *, rounds: int | None = None, owner: str = "ann") -> str:
    """Add a search with its trials, attempts, evaluations, workers and events; returns its id.

    With `rounds`, below those of `spec`, it is still running in that round; else it has ended and is confirmed.
    """
    with database.write() as session:
        experiment_id = create(session, spec, owner).id
        for number in range(WORKERS):
            remember_workers(session, [_worker(spec, number)])
        past = _Past(experiment_id, spec, read_clock(session), spec.rounds if rounds is None else rounds)
        past.write(is_over=rounds is None)
        for table, rows in past.rows.items():
            if rows:
                columns = dict.fromkeys(column for row in rows for column in row)
                session.execute(insert(table_of(table)), [columns | row for row in rows])
        if rounds is not None:
            session.execute(update(Worker).where(Worker.name.in_(past.running)).values(gpu_use=[GPU_USE]))
        session.execute(update(Experiment).where(Experiment.id == experiment_id).values(**past.search))
    return experiment_id


def fill_subscriptions(database: Database, experiment_id: str, owner: str = "ann") -> str:
    """Add three subscriptions, with deliveries in every state; returns the id of the one that has them all."""
    asked = (
        SubscriptionRequest(channel="mail", target="ann@example.org", occasions=("failed", "stalled")),
        SubscriptionRequest(channel="slack", target="https://hooks.slack.com/services/T0", experiment_id=experiment_id),
        SubscriptionRequest(target="https://ci.example.org/hooks/paploss"),
    )
    with database.write() as session:
        made = [subscriptions.add_subscription(session, each, owner) for each in asked]
        mail, slack, webhook = [each.id for each in made]
        clock = read_clock(session)
        for each in made:
            each.created_at = clock - 3600 * 48

        def add(to: str, hours_ago: float, occasion: Occasion, **fate: Any) -> None:
            at = clock - 3600 * hours_ago
            notice = NOTICE.write(Notice(occasion=occasion, at=at, message="", experiment_id=experiment_id))
            times = {"created_at": at, "due_at": clock + 1500.0, "ended_at": at + 2.0}
            delivery = {"id": str(uuid.uuid4()), "occasion": occasion, "notice": notice} | times | fate
            session.add(Delivery(subscription_id=to, **delivery))

        busy = "the receiver answered with status 503, an error"
        gone = "ci.example.org cannot be resolved: Name or service not known"
        add(slack, 0.1, "new_best", state="delivered", attempts=1)
        add(webhook, 0.1, "new_best", state="waiting", attempts=3, error=busy, ended_at=None)
        add(webhook, 1.2, "new_best", state="delivered", attempts=2)
        add(webhook, 3.0, "stalled", state="delivered", attempts=1)
        add(webhook, 26.0, "stalled", state="given_up", attempts=8, error=gone)
        subscriptions.pause_subscription(session, mail)
    return webhook


def _worker(spec: SearchSpec, number: int) -> WorkerInfo:
    """Each search has workers of its own."""
    host = f"node-{2 * spec.seed + number // 4}"
    return WorkerInfo(name=f"{host}-gpu{number % 4}", host=host, gpus=1, device=ENVIRONMENT["device"])


@dataclass
class _Past:
    """What happened to one search, as rows."""

    experiment_id: str
    spec: SearchSpec
    clock: float
    rounds: int
    rows: dict[type[Base], list[dict[str, Any]]] = field(
        default_factory=lambda: {Round: [], Trial: [], Attempt: [], Evaluation: [], Event: []}
    )
    search: dict[str, Any] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    """Names of the workers that train now."""

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.spec.seed)
        self.space = search_space(self.spec)
        head = PRESETS["retinanet"].heads["bbox_head"]
        published = {"bbox_head": HeadParameters(np.asarray(head.control_points), head.gradient_scale)}
        away = self.random.normal(0, 0.12, self.space.dimension)
        self.target = np.clip(self.space.encode(published) + away, 0.02, 0.98)
        count = self.rounds * self.spec.trials_per_round
        self.begin = self.clock - TRIAL_SECONDS * (count / WORKERS + 4)
        self.free_at = [self.begin + 20.0 * number for number in range(WORKERS)]

    def write(self, *, is_over: bool) -> None:
        """Fill the rows."""
        state = PolicyState(0, self.space.start(), 0.2)
        for number in range(self.rounds):
            state = self._policy(number)
            rewards = [self._proxy(state, index) for index in range(self.spec.trials_per_round)]
            closed_at = max(self.free_at)
            self._close(state, rewards, closed_at)
        last = self._policy(self.rounds)
        self._add(
            Round,
            number=last.version,
            state=last.to_json(),
            centre=last.mu.tolist(),
            spread=last.sigma,
            proposed=0,
            created_at=max(self.free_at),
        )
        end = max(self.free_at)
        self.search = {"round": self.rounds, "created_at": self.begin, "next_number": len(self.rows[Trial])}
        if is_over:
            self._confirm(last)
            self.search |= {"state": "succeeded", "stage": "confirm", "finished_at": max(self.free_at)}
        else:
            self._add_open(last, end)
        self.search["next_number"] = len(self.rows[Trial])

    def _add(self, table: type[Base], **row: Any) -> None:
        self.rows[table].append(row if table in (Attempt, Evaluation) else row | {"experiment_id": self.experiment_id})

    def _policy(self, version: int) -> PolicyState:
        done = version / max(self.spec.rounds, 1)
        mu = self.space.start() + (1 - 0.05**done) * (self.target - self.space.start())
        return PolicyState(version, np.clip(mu, 0.01, 0.99), 0.2 - 0.1 * done)

    def _reward(self, theta: np.ndarray) -> float:
        distance = np.abs(theta - self.target)
        weight = np.where(np.arange(theta.size) % 8 < 2, 3.0, 1.0)  # some dimensions matter more
        ap = 0.29 - 2.1 * float((weight * distance**2).mean()) + self.random.normal(0, 0.006)
        return float(np.clip(ap, 0.0, 1.0))

    def _proxy(self, state: PolicyState, index: int) -> float | None:
        theta = sample(state, self.spec.seed, index)
        chance = self.random.random()
        reward = self._reward(theta)
        outcome = "pruned" if chance < 0.15 and reward < 0.2 else "failed" if chance > 0.997 else "succeeded"
        seed = proxy_seed(self.spec.seed, state.version)
        self._trial("proxy", seed, outcome, reward, theta=theta, round=state.version, index=index)
        return None if outcome == "failed" else reward

    def _trial(self, kind: str, seed: int, outcome: str, reward: float, **columns: Any) -> None:
        number = len(self.rows[Trial])
        trial_id = f"{self.experiment_id}-{number:06d}"
        slot = int(np.argmin(self.free_at))
        claimed_at = self.free_at[slot]
        seconds = TRIAL_SECONDS * float(self.random.lognormal(0, 0.15)) * (0.6 if outcome == "pruned" else 1.0)
        taken = self.random.random() < 0.04
        ended_at = claimed_at
        if taken:  # half way, with a checkpoint at a third of the iterations
            ended_at += 0.5 * seconds
            ending = "preempted" if number % 2 else "expired"
            self._attempt(trial_id, 1, slot, claimed_at=claimed_at, ended_at=ended_at, outcome=ending)
            claimed_at, resumed = ended_at + 15, ITERATIONS // 3
            ended_at = claimed_at + 2 / 3 * seconds
        else:
            resumed, ended_at = 0, claimed_at + seconds
        self._attempt(
            trial_id, 1 + taken, slot, claimed_at=claimed_at, ended_at=ended_at, outcome=outcome, resumed=resumed
        )
        self.free_at[slot] = ended_at + 3
        metrics = _metrics(reward)
        error = "CUDA error: an illegal memory access was encountered" if outcome == "failed" else None
        for share in (0.5, 1.0) if outcome == "succeeded" else (0.5,):
            self._add(
                Evaluation,
                trial_id=trial_id,
                iteration=round(share * ITERATIONS),
                total_iterations=ITERATIONS,
                ap=reward * share**0.5,
                metrics=_metrics(reward * share**0.5),
                at=ended_at,
            )
        theta = columns.pop("theta", None)
        is_rewarded = outcome != "failed"
        self._add(
            Trial,
            id=trial_id,
            number=number,
            kind=kind,
            label=columns.pop("label", ""),
            round=columns.pop("round", None),
            index=columns.pop("index", None),
            theta=None if theta is None else [float(value) for value in theta],
            loss=columns.pop("loss", None),
            seed=seed,
            state=outcome,
            attempt=1 + taken,
            preemptions=int(taken),
            failed_attempts=0 if is_rewarded else 3,
            worker=_worker(self.spec, slot).name,
            iteration=ITERATIONS if outcome == "succeeded" else ITERATIONS // 2,
            total_iterations=ITERATIONS,
            reward=reward if is_rewarded else None,
            metrics=metrics if is_rewarded else None,
            error_kind=None if is_rewarded else "crash",
            error=error,
            seconds=seconds,
            created_at=claimed_at - 60,
            started_at=claimed_at + 2,
            finished_at=ended_at,
        )
        kind_of_event = {"succeeded": "trial_succeeded", "pruned": "trial_pruned", "failed": "trial_failed"}[outcome]
        message = error or f"AP {100 * reward:.1f}"
        level = "info" if is_rewarded else "error"
        self._add(Event, trial_id=trial_id, kind=kind_of_event, level=level, message=message, at=ended_at)

    def _attempt(
        self,
        trial_id: str,
        number: int,
        slot: int,
        *,
        claimed_at: float,
        ended_at: float | None,
        outcome: str | None,
        resumed: int = 0,
    ) -> None:
        token = hashlib.sha256(f"{trial_id}-{number}".encode()).hexdigest()
        worker = _worker(self.spec, slot)
        self._add(
            Attempt,
            trial_id=trial_id,
            number=number,
            claim_id=token[:36],
            token=token[:32],
            worker=worker.name,
            host=worker.host,
            device=worker.device,
            environment=ENVIRONMENT,
            resumed_iteration=resumed,
            claimed_at=claimed_at,
            started_at=claimed_at + 2,
            ended_at=ended_at,
            outcome=outcome,
            error_kind="crash" if outcome == "failed" else None,
            error="CUDA error: an illegal memory access was encountered" if outcome == "failed" else None,
            log_tail=LOG,
        )

    def _close(self, state: PolicyState, rewards: list[float | None], closed_at: float) -> None:
        known = [reward for reward in rewards if reward is not None]
        mean, best = float(np.mean(known)), max(known)
        self._add(
            Round,
            number=state.version,
            state=state.to_json(),
            centre=state.mu.tolist(),
            spread=state.sigma,
            proposed=len(rewards),
            mean_reward=mean,
            best_reward=best,
            rewards=len(known),
            created_at=closed_at - TRIAL_SECONDS,
            closed_at=closed_at,
        )
        message = f"round {state.version + 1} of {self.spec.rounds}: mean AP {100 * mean:.1f}, best {100 * best:.1f}"
        self._add(Event, trial_id=None, kind="round_closed", level="info", message=message, at=closed_at)

    def _confirm(self, last: PolicyState) -> None:
        best = max((row for row in self.rows[Trial] if row["reward"] is not None), key=lambda row: row["reward"])
        measured = []
        for label, theta in (
            (BEST_GUESS, last.mu),
            (f"trial {best['number']}", np.asarray(best["theta"])),
            (IDENTITY, self.space.start()),
        ):
            rewards = {}
            for index in range(self.spec.confirm.seeds):
                seed = confirm_seed(self.spec.seed, index)
                rewards[seed] = self._reward(theta)
                self._trial("confirm", seed, "succeeded", rewards[seed], label=label, theta=theta)
            values = list(rewards.values())
            error = float(np.std(values, ddof=1)) / len(values) ** 0.5
            mean = float(np.mean(values))
            measured.append(ConfirmedLoss(label=label, rewards=rewards, mean=mean, standard_error=error))
        chosen = measured[0]
        assert chosen.mean is not None
        outcome = Outcome(
            label=chosen.label,
            loss=decode_loss(self.spec, last.mu.tolist()),
            theta=tuple(last.mu.tolist()),
            mean=chosen.mean,
            standard_error=chosen.standard_error,
            interval=None,
            count=self.spec.confirm.seeds,
            schedule="proxy",
            candidates=tuple(measured[:-1]),
            identity=measured[-1],
            published=None,
        )
        self.search["best"] = OUTCOME.write(outcome)

    def _add_open(self, state: PolicyState, at: float) -> None:
        """The trials of a round that has just begun: all but two of them with a worker."""
        for index in range(self.spec.trials_per_round):
            number = len(self.rows[Trial])
            trial_id = f"{self.experiment_id}-{number:06d}"
            runs = index < min(WORKERS, self.spec.trials_per_round) - 2
            if runs:
                self.running.append(_worker(self.spec, index).name)
                self._attempt(trial_id, 1, index, claimed_at=at + 5, ended_at=None, outcome=None)
            self._add(
                Trial,
                id=trial_id,
                number=number,
                kind="proxy",
                label="",
                round=state.version,
                index=index,
                theta=[float(value) for value in sample(state, self.spec.seed, index)],
                loss=None,
                seed=proxy_seed(self.spec.seed, state.version),
                state="running" if runs else "queued",
                attempt=int(runs),
                preemptions=0,
                failed_attempts=0,
                worker=_worker(self.spec, index).name if runs else None,
                iteration=30 * (index + 1) if runs else 0,
                total_iterations=ITERATIONS if runs else None,
                reward=None,
                metrics=None,
                error_kind=None,
                error=None,
                seconds=None,
                created_at=at,
                finished_at=None,
                started_at=at + 7 if runs else None,
                token=hashlib.sha256(f"{trial_id}-1".encode()).hexdigest()[:32] if runs else None,
                lease_until=self.clock + 3600 if runs else None,
            )


def _metrics(ap: float) -> dict[str, Any]:
    found = Metrics(
        ap=ap,
        ap50=min(1.0, 1.9 * ap),
        ap75=0.85 * ap,
        ap_small=-1,
        ap_medium=0.7 * ap,
        ap_large=1.2 * ap,
        per_class=dict(zip(CLASSES, (0.6 * ap, 1.1 * ap, min(1.0, 1.5 * ap)), strict=True)),
        ap_by_iou=tuple(min(1.0, 1.9 * ap * (1 - (step / 10) ** 2)) for step in range(10)),
    )
    return found.model_dump(mode="json")
