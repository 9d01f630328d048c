"""Simulated workers: the real lease protocol over HTTP and Redis, and no training.

They run in processes of their own. Their HTTP is a few lines and not the worker's: in a cluster it would not be these
cores that pay for it.
"""

import asyncio
import gc
import multiprocessing
import socket
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import NamedTuple, TypeVar

import aiohttp

from benchmarks.load_platform import LoadedPlatform
from paploss.client.specs import TrainingSpec
from paploss.jobs.lease import Accepted, ClaimRequest, Lease, RenewReply, RenewRequest, ResultRequest, WorkerInfo
from paploss.jobs.messages import Message
from paploss.jobs.metrics import Metrics
from paploss.jobs.queue import TrialQueue
from paploss.jobs.spec import EvaluationEvent, JobResult, ProgressEvent, StartEvent

ITERATIONS = 100
CLAIMERS = 16
"""Who claim at once, so that claims are gathered as in a cluster."""
METRICS = Metrics(ap=0.25, ap50=0.4, ap75=0.2, ap_small=-1, ap_medium=0.25, ap_large=0.3, per_class={"dot": 0.25})
ENVIRONMENT = {"torch": "2.13.0", "mmdet": "3.3.0", "python": "3.11", "device": "simulated"}
LOG_TAIL = "iteration 100 of 100, loss 0.5\n" * 20

Reply = TypeVar("Reply", bound=Message)


@dataclass(frozen=True)
class Target:
    """What a process of workers needs to know."""

    urls: tuple[str, ...]
    key: str
    redis_url: str


@dataclass(frozen=True)
class Done:
    """A trial whose result was accepted."""

    experiment_id: str
    at: float
    """Monotonic seconds, the same clock in all processes of a machine."""


class Renewal(NamedTuple):
    """A renewal that was answered."""

    due_at: float
    """Monotonic seconds, the same clock in all processes of a machine."""
    waited_seconds: float
    """From when it was due, so that a slow answer is not hidden by the next request's being late."""


class LeaseClient:
    """One worker's connection to a controller."""

    def __init__(self, target: Target, index: int) -> None:
        address = target.urls[index % len(target.urls)].removeprefix("http://")
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._incoming = self._socket.makefile("rb")
        headers = (f"Host: {address}", f"Authorization: Bearer {target.key}", "Content-Type: application/json")
        self._headers = "\r\n".join(headers)

    def ask(self, step: str, request: Message, reply: type[Reply]) -> Reply | None:
        """The answer; none where the controller refuses.

        Raises:
            RuntimeError: any other answer.
        """
        body = request.model_dump_json().encode()
        head = f"POST /api/v1/leases/{step} HTTP/1.1\r\n{self._headers}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)
        status, content = self._read()
        if status == 200:
            return reply.model_validate_json(content)
        if status in (404, 409, 410):
            return None
        raise RuntimeError(f"{step}: {status} {content[:500]!r}")

    def _read(self) -> tuple[int, bytes]:
        status, length = int(self._incoming.readline().split()[1]), 0
        while (line := self._incoming.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, self._incoming.read(length)


def run_trials(platform: LoadedPlatform, *, processes: int, threads: int, seconds: float) -> list[Done]:
    """`processes` x `threads` workers run trials for so long; what they finished, by time."""
    context = multiprocessing.get_context("spawn")
    pipes, started = [], []
    for number in range(processes):
        ours, theirs = context.Pipe(duplex=False)
        names = [f"load-{number}-{index}" for index in range(threads)]
        process = context.Process(target=_run_process, args=(theirs, _target(platform), names, seconds))
        process.start()
        pipes.append(ours)
        started.append(process)
    done = [each for pipe in pipes for each in pipe.recv()]
    for process in started:
        process.join()
    return sorted(done, key=lambda each: each.at)


def renew_leases(
    platform: LoadedPlatform, leases: Sequence[tuple[str, str]], *, seconds: float, renew_seconds: float
) -> list[Renewal]:
    """One worker on a connection of its own for each lease (trial id, token) renews it for so long; a renewal that is
    refused raises. The first renewal of each, which opens its connection, comes before and is not counted."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    arguments = (theirs, _target(platform), list(leases), seconds, renew_seconds)
    process = context.Process(target=_renew_process, args=arguments)
    process.start()
    renewals: list[Renewal] = ours.recv()
    process.join()
    return renewals


def hold_leases(platform: LoadedPlatform, workers: int) -> list[tuple[str, str]]:
    """A lease (trial id, token) for each of so many workers, of trainings that the controller is asked for."""
    found: list[tuple[str, str]] = []
    with platform.client() as client:
        while len(found) < workers:
            seeds = tuple(range(min(workers - len(found), 500)))  # more would be proposed later
            losses = [{"label": "identity", "preset": "identity"}]
            given = {"profile": "synthetic", "losses": losses, "seeds": seeds, "learning_rates": []}
            training = client.create(TrainingSpec.model_validate(given))
            found += claim_all(platform, [f"{training.id}-{number:06d}" for number in seeds])
    return found


def claim_all(platform: LoadedPlatform, trial_ids: Sequence[str]) -> list[tuple[str, str]]:
    """Claim each trial as another worker's; returns trial ids with tokens."""

    def claim_some(part: Sequence[str]) -> list[Lease | None]:
        client = LeaseClient(_target(platform), 0)
        return [client.ask("claim", _claim(trial, f"renewer-{trial}"), Lease) for trial in part]

    with ThreadPoolExecutor(CLAIMERS) as pool:
        parts = pool.map(claim_some, (trial_ids[first::CLAIMERS] for first in range(CLAIMERS)))
        return [(lease.trial_id, lease.token) for part in parts for lease in part if lease is not None]


def _target(platform: LoadedPlatform) -> Target:
    return Target(tuple(platform.urls), platform.worker_key, platform.redis_url)


def _run_process(pipe: Connection, target: Target, names: list[str], seconds: float) -> None:
    done: list[Done] = []
    stop_at = time.monotonic() + seconds
    workers = [
        threading.Thread(target=_run_worker, args=(target, index, name, stop_at, done))
        for index, name in enumerate(names)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    pipe.send(done)


def _run_worker(target: Target, index: int, name: str, stop_at: float, done: list[Done]) -> None:
    client = LeaseClient(target, index)
    with TrialQueue(target.redis_url) as queue:
        while time.monotonic() < stop_at:
            entry = queue.take([0], name, block_seconds=1, takeover_seconds=5)
            if entry is None:
                continue
            lease = client.ask("claim", _claim(entry.trial_id, name), Lease)
            queue.acknowledge(entry)
            if lease is None:
                continue
            client.ask("renew", _renewal(lease.trial_id, lease.token), RenewReply)
            if client.ask("result", _result(lease.trial_id, lease.token), Accepted) is not None:
                done.append(Done(lease.trial_id.rpartition("-")[0], time.monotonic()))


def _renew_process(
    pipe: Connection, target: Target, leases: list[tuple[str, str]], seconds: float, renew_seconds: float
) -> None:
    gc.disable()  # a look for garbage here would hold up all workers, which in a cluster share no process
    pipe.send(asyncio.run(_renew_all(target, leases, seconds, renew_seconds)))


async def _renew_all(
    target: Target, leases: list[tuple[str, str]], seconds: float, renew_seconds: float
) -> list[Renewal]:
    renewals: list[Renewal] = []
    start = time.monotonic() + 1
    headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as http:

        async def renew(index: int) -> None:
            trial_id, token = leases[index]
            url = f"{target.urls[index % len(target.urls)]}/api/v1/leases/renew"
            body = _renewal(trial_id, token).model_dump_json()
            due = start + renew_seconds * index / len(leases)
            while due < start + renew_seconds + seconds:
                await asyncio.sleep(max(0, due - time.monotonic()))
                try:
                    async with http.post(url, data=body) as reply:
                        await reply.read()
                        reply.raise_for_status()
                except (
                    aiohttp.ServerDisconnectedError
                ):  # an unused connection ended just now: repeated, as a worker does
                    continue
                if due >= start + renew_seconds:
                    renewals.append(Renewal(due, time.monotonic() - due))
                due += renew_seconds

        await asyncio.gather(*(renew(index) for index in range(len(leases))))
    return renewals


def _claim(trial_id: str, name: str) -> ClaimRequest:
    info = WorkerInfo(name=name, host="load", device="simulated", versions=ENVIRONMENT)
    return ClaimRequest(claim_id=uuid.uuid4(), trial_id=trial_id, worker=info)


def _renewal(trial_id: str, token: str) -> RenewRequest:
    return RenewRequest(
        trial_id=trial_id,
        token=token,
        start=StartEvent(total_iterations=ITERATIONS, environment=ENVIRONMENT),
        progress=ProgressEvent(iteration=1, total_iterations=ITERATIONS, loss=0.5),
        log_tail=LOG_TAIL,
    )


def _result(trial_id: str, token: str) -> ResultRequest:
    result = JobResult(outcome="succeeded", reward=METRICS.ap, metrics=METRICS, iterations=ITERATIONS, seconds=1)
    evaluation = EvaluationEvent(iteration=ITERATIONS, total_iterations=ITERATIONS, metrics=METRICS)
    return ResultRequest(trial_id=trial_id, token=token, result=result, evaluations=(evaluation,), log_tail=LOG_TAIL)
