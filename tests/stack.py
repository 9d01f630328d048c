"""The platform for tests: controller and workers as real processes over a real Redis, each ended by its own pid."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
from servers import free_port
from sqlalchemy import text

from paploss.controller.store import schema
from paploss.controller.store.access.keys import KEY_PREFIX, digest_key
from paploss.controller.store.database import Database, Session

WAIT_SECONDS = 240
"""Patience, not a requirement: tests run on busy machines, where starting a process may take half a minute."""

IMPATIENT = {
    "PAPLOSS_LEASE_SECONDS": "3",
    "PAPLOSS_RENEW_SECONDS": "0.3",
    "PAPLOSS_LEADER_LEASE_SECONDS": "3",
    "PAPLOSS_TICK_SECONDS": "0.05",
}
"""Settings under which a killed process is missed soon."""


def wait_until(holds: Callable[[], Any], what: str) -> Any:
    """What `holds` returns as soon as that is true."""
    give_up_at = time.monotonic() + WAIT_SECONDS
    while not (found := holds()):
        assert time.monotonic() < give_up_at, f"waited in vain for {what}"
        time.sleep(0.05)
    return found


def lives(process: psutil.Process) -> bool:
    """Whether a process runs, also where it ends at this moment; one that waits to be reaped does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Stack:
    """One controller at a time, any number of workers, one folder for database, state volume and logs."""

    def __init__(
        self, folder: Path, redis_url: str, database_url: str | None = None, revision: str = "head", **settings: str
    ) -> None:
        """`revision`: of the database's schema, where the controller is of an earlier version."""
        self.state = folder / "state"
        self.state.mkdir(parents=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PAPLOSS_")}
        self.environment |= IMPATIENT | {
            "PAPLOSS_STATE_DIR": str(self.state),
            "PAPLOSS_REDIS_URL": redis_url,
            "PAPLOSS_DATABASE_URL": database_url or f"sqlite:///{folder / 'paploss.db'}",
            "PAPLOSS_HOST": "127.0.0.1",
            "PAPLOSS_PORT": str(self.port),
            "OMP_NUM_THREADS": "1",
            **settings,
        }
        self.database = Database(self.environment["PAPLOSS_DATABASE_URL"])
        schema.upgrade(self.database, revision)
        with self.database.write() as session:
            self.admin_key = _add_key(session, "test-admin", "admin")
            self.worker_key = _add_key(session, "test-worker", "worker")
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.controller: subprocess.Popen[bytes] | None = None
        self.replicas: dict[str, subprocess.Popen[bytes]] = {}
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.http = httpx.Client(
            base_url=f"{self.url}/api/v1", headers={"Authorization": f"Bearer {self.admin_key}"}, timeout=30
        )

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        for process in (*self.workers.values(), *self.replicas.values(), *filter(None, [self.controller])):
            process.kill()
            process.wait()
        self.database.close()

    def start_controller(self, module: tuple[str, ...] = ("paploss.cli", "serve"), **settings: str) -> None:
        self.controller = self._start("controller", list(module), settings)
        wait_until(self.is_ready, "the controller to be ready")

    def kill_controller(self, number: int = signal.SIGKILL) -> None:
        assert self.controller is not None
        self.controller.send_signal(number)
        self.controller.wait(WAIT_SECONDS)
        self.controller = None

    def is_ready(self) -> bool:
        """Whether the controller can do its work."""
        assert self.controller is not None
        assert self.controller.poll() is None, self.log("controller")
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).is_success
        except httpx.TransportError:
            return False

    def start_replica(
        self, name: str, port: int, module: tuple[str, ...] = ("paploss.cli", "serve"), **settings: str
    ) -> None:
        """Another controller over the same database and Redis."""
        given = {"PAPLOSS_PORT": str(port)} | settings
        self.replicas[name] = self._start(name, list(module), given)

    def start_worker(self, name: str = "w0", **settings: str) -> subprocess.Popen[bytes]:
        return self.start_other_worker(name, ["paploss.worker"], **settings)

    def start_other_worker(self, name: str, module: list[str], **settings: str) -> subprocess.Popen[bytes]:
        """A worker that another program is, e.g. of an earlier version."""
        given = {"PAPLOSS_CONTROLLER_URL": self.url, "PAPLOSS_KEY": self.worker_key, "PAPLOSS_NAME": name}
        given |= {"PAPLOSS_STATE_DIR": str(self.state)} | settings
        self.workers[name] = self._start(name, module, given)
        return self.workers[name]

    def kill_worker(self, name: str = "w0", number: int = signal.SIGKILL) -> int:
        process = self.workers.pop(name)
        process.send_signal(number)
        return process.wait(WAIT_SECONDS)

    def clear(self) -> None:
        """End every worker and every open experiment, for the next test."""
        for name in list(self.workers):
            self.kill_worker(name)
        for found in self.get("experiments", limit=200)["items"]:
            if found["state"] in ("running", "paused"):
                self.post(f"experiments/{found['id']}/cancel")

    def trainers(self, name: str = "w0") -> list[psutil.Process]:
        """The trainer processes of a worker, without the subreapers that stand between."""
        found = []
        for process in psutil.Process(self.workers[name].pid).children(recursive=True):
            try:
                command = process.cmdline()
            except psutil.NoSuchProcess:
                continue
            if "paploss.trainer" in command and not any(part.endswith("subreaper.py") for part in command):
                found.append(process)
        return found

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def get(self, path: str, **query: object) -> Any:
        """The JSON at a path of the API."""
        response = self.http.get(path, params={key: str(value) for key, value in query.items()})
        assert response.is_success, response.text
        return response.json()

    def post(self, path: str, content: object = None) -> Any:
        response = self.http.post(path, json=content)
        assert response.is_success, response.text
        return response.json()

    def submit(self, **spec: object) -> str:
        """Start a synthetic search; returns its id."""
        given = {"kind": "search", "profile": "synthetic", "algorithm": "ppo", "prune": False} | spec
        given = {"rounds": 1, "trials_per_round": 2} | given
        return str(self.post("experiments", given)["id"])

    def submit_training(self, **spec: object) -> str:
        """Start one synthetic training with the identity; returns its id."""
        losses = [{"label": "identity", "preset": "identity"}]
        given = {"profile": "synthetic", "kind": "comparison", "losses": losses, "seeds": [0], "learning_rates": []}
        given |= spec
        return str(self.post("experiments", given)["id"])

    def trials(self, experiment_id: str) -> list[dict[str, Any]]:
        page = self.get(f"experiments/{experiment_id}/trials", limit=200)
        assert page["next_cursor"] is None
        return list(page["items"])

    def trial(self, experiment_id: str) -> dict[str, Any]:
        """The one trial of a training, in detail."""
        (only,) = self.trials(experiment_id)
        return dict(self.get(f"trials/{only['id']}"))

    def wait_for(self, experiment_id: str, *states: str, path: str = "experiments") -> dict[str, Any]:
        """Wait until an experiment is in one of these states."""

        def look() -> dict[str, Any] | None:
            try:
                run = self.http.get(f"{path}/{experiment_id}")
            except httpx.TransportError:
                return None
            if not run.is_success:
                return None
            found: dict[str, Any] = run.json()
            if found["state"] in ("succeeded", "failed", "cancelled"):
                assert found["state"] in states, f"{experiment_id} is {found['state']}: {found['reason']}"
            return found if found["state"] in states else None

        try:
            return dict(wait_until(look, f"{experiment_id} to be {' or '.join(states)}"))
        except AssertionError as error:
            error.add_note(self.story(experiment_id))
            raise

    def wait_for_trials(self, experiment_id: str, count: int, path: str = "experiments") -> None:
        """Wait until so many trials have a reward."""

        def look() -> bool:
            trials = self.get(f"{path}/{experiment_id}/trials", limit=200)["items"]
            return sum(trial["reward"] is not None for trial in trials) >= count

        wait_until(look, f"{count} trials of {experiment_id} with a reward")

    def story(self, experiment_id: str) -> str:
        """What happened, for a test that failed."""
        lines = self.get(f"experiments/{experiment_id}/log", limit=200)["items"]
        trials = [
            [trial[name] for name in ("number", "state", "attempts", "preemptions", "worker", "iteration")]
            for trial in self.trials(experiment_id)
        ]
        events = [f"{line['at']} {line['trial_id']} {line['kind']}: {line['message']}" for line in lines]
        return "\n".join([*map(str, trials), *events])

    def _start(self, name: str, module: list[str], settings: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *module],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment | settings,
                cwd=settings.get("PYTHONPATH", Path(__file__).parents[1]),
            )


def _add_key(session: Session, name: str, role: str) -> str:
    """A new key, stored as every revision of the schema can."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    row = {"name": name, "role": role, "digest": digest_key(key), "now": time.time()}
    statement = "INSERT INTO api_keys (name, role, digest, created_at) VALUES (:name, :role, :digest, :now)"
    session.execute(text(statement), row)
    return key
