"""A real controller for tests: the application served over HTTP by a thread, with a key for each role."""

import asyncio
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Self, get_args

import httpx
import uvicorn
from simulation import metrics, reward_of
from sqlalchemy import event

from paploss.client.states import Role
from paploss.client.sync_client import Client
from paploss.controller.api.app import create_app
from paploss.controller.api.security.access import SESSION_COOKIE
from paploss.controller.api.server import bind, make_server
from paploss.controller.api.services import Services
from paploss.controller.settings import Settings
from paploss.controller.store.access.keys import create_key
from paploss.jobs.analysis import Analysis
from paploss.jobs.lease import (
    PROTOCOL,
    PROTOCOL_HEADER,
    Accepted,
    ClaimRequest,
    Lease,
    RenewRequest,
    ResultRequest,
    WorkerInfo,
)
from paploss.jobs.spec import ANALYSED_KINDS, EvaluationEvent, JobResult, ProgressEvent, StartEvent

uvicorn.server.asyncio = SimpleNamespace(**vars(asyncio) | {"sleep": lambda seconds: asyncio.sleep(seconds / 10)})  # type: ignore[assignment]
"""It looks every 0.1 s whether it is to end, and then waits for as long again: a third of what a small test takes."""

HEADERS = {"Content-Type": "application/json", PROTOCOL_HEADER: str(PROTOCOL)}
ROLES: tuple[Role, ...] = get_args(Role)
_WITHOUT_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: each client would read all authorities of the system, in a fifth of the time of a small test."""


class RunningController:
    """Serves between `with` and its end, on a free port of the loopback."""

    def __init__(
        self,
        database_url: str,
        redis_url: str,
        state_dir: Path,
        *,
        listener: socket.socket | None = None,
        **options: object,
    ) -> None:
        """`listener`: where it serves, for settings that have to know the address beforehand."""
        options = {"tick_seconds": 0.05, "data_roots": ("/data",)} | options
        settings = Settings.model_validate(
            {"database_url": database_url, "redis_url": redis_url, "state_dir": state_dir} | options
        )
        self.app = create_app(settings)
        self.services: Services = self.app.state.services
        with self.services.database.write() as session:
            self.keys = {role: create_key(session, role, role) for role in ROLES}
        self._listener = listener or bind("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server = make_server(self.app)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the controller did not start"
            time.sleep(0.005)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def http(self, role: Role | None = None) -> httpx.Client:
        """A plain HTTP client with the key of a role; to be closed by the caller."""
        headers = {} if role is None else {"Authorization": f"Bearer {self.keys[role]}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, verify=_WITHOUT_TLS)

    def client(self, role: Role = "user") -> Client:
        """The project's own client; to be closed by the caller."""
        return Client(self.url, self.keys[role])


def session_name(browser: httpx.Client) -> str:
    """Of the cookie that a controller gives a browser which signs in."""
    return f"{SESSION_COOKIE}_{browser.base_url.port}"


class PlayedWorker:
    """Runs trials over the lease protocol without a training."""

    def __init__(self, http: httpx.Client, name: str = "w1") -> None:
        self._http = http
        self.info = WorkerInfo(name=name, host="node-1", device="cpu")

    def claim(self, trial_id: str) -> Lease:
        request = ClaimRequest(claim_id=uuid.uuid4(), trial_id=trial_id, worker=self.info)
        return Lease.model_validate_json(self._post("claim", request.model_dump_json()).content)

    def renew(self, lease: Lease, *aps: float, log_tail: str = "", total_iterations: int = 20) -> str:
        """`aps`: what was measured after each two iterations."""
        request = RenewRequest(
            trial_id=lease.trial_id,
            token=lease.token,
            start=StartEvent(total_iterations=total_iterations, environment={"torch": "2.13.0"}),
            progress=ProgressEvent(iteration=2 * len(aps), total_iterations=total_iterations, loss=0.5),
            evaluations=tuple(
                EvaluationEvent(iteration=2 * (index + 1), total_iterations=total_iterations, metrics=metrics(ap))
                for index, ap in enumerate(aps)
            ),
            log_tail=log_tail,
        )
        return str(self._post("renew", request.model_dump_json()).json()["command"])

    def finish(self, lease: Lease, result: JobResult | None = None, analysis: Analysis | None = None) -> str:
        if result is None:
            reward = reward_of(lease.job)
            result = JobResult(outcome="succeeded", reward=reward, metrics=metrics(reward), iterations=20, seconds=1)
        request = ResultRequest(trial_id=lease.trial_id, token=lease.token, result=result, analysis=analysis)
        return Accepted.model_validate_json(self._post("result", request.model_dump_json()).content).state

    def run(self, trial_id: str, analysis: Analysis | None = None) -> None:
        lease = self.claim(trial_id)
        self.renew(lease, 0.1, 0.2)
        self.finish(lease, analysis=analysis if lease.job.kind in ANALYSED_KINDS else None)

    def _post(self, step: str, body: str) -> httpx.Response:
        reply = self._http.post(f"/api/v1/leases/{step}", content=body, headers=HEADERS)
        return reply.raise_for_status()


@contextmanager
def count_selects(running: RunningController) -> Iterator[list[str]]:
    """What requests read from the database meanwhile, but for who asks, which is remembered for a while."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        is_request = not threading.current_thread().name.startswith(("Driver", "asyncio"))  # which is the notifier's
        is_lookup = "api_keys" in statement or "FROM projects" in statement
        if is_request and statement.startswith("SELECT") and not is_lookup:
            asked.append(statement)

    engine = running.services.database.engine
    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


def run_search(client: Client, worker: PlayedWorker, experiment_id: str, analysis: Analysis | None = None) -> None:
    """Run whatever the search proposes until it has ended; `analysis`: of each training that has one."""
    while client.get_experiment(experiment_id).state == "running":
        for trial in client.trials(experiment_id, state="queued"):
            worker.run(trial.id, analysis)
        time.sleep(0.01)  # the controller is a thread of the same process
