"""A real MLflow server for tests, with TensorBoard beside it, in an environment of its own.

Its packages do not agree with ours. PAPLOSS_TEST_MLFLOW names the folder of an environment that has them; without it
one is made, which takes minutes and needs a package index.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx
from stack import free_port

PACKAGES: Final = ("mlflow>=3,<4", "tensorboard>=2.20,<3", "setuptools<81")  # tensorboard imports pkg_resources
START_SECONDS: Final = 240


class NoMlflowError(Exception):
    """There is none to be had; one line."""


def find_environment(folder: Path) -> Path:
    """The folder with programs of an environment that has PACKAGES.

    Raises:
        NoMlflowError: no index answers.
    """
    if given := os.environ.get("PAPLOSS_TEST_MLFLOW"):
        return Path(given) / "bin"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoMlflowError(f"MLflow cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return folder / "bin"


class MlflowServer:
    """Serves between `with` and its end, over a SQLite file and a folder of artifacts."""

    def __init__(self, programs: Path, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        store = ("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}")
        files = ("--artifacts-destination", str(folder / "artifacts"))
        where = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
        self._command = [programs / "mlflow", "server", *where, *store, *files]
        self._log = folder / "mlflow.log"

    def __enter__(self) -> Self:
        environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        give_up_at = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < give_up_at, self._log.read_text()
            time.sleep(0.2)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, 9)  # with its workers
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).is_success
        except httpx.TransportError:
            return False
