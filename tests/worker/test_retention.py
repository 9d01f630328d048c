"""Old files leave the state volume, and those that somebody may want stay."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from controllers import PlayedWorker, RunningController
from pydantic import SecretStr
from scenarios import failed, training_spec

from paploss.jobs.lease import Lease
from paploss.worker.controller import Controller
from paploss.worker.retention import clear_volume
from paploss.worker.state import StateVolume

START = [{"label": "start", "preset": "identity"}]


@pytest.fixture
def volume(tmp_path: Path) -> StateVolume:
    return StateVolume(tmp_path / "volume")


@pytest.fixture(params=[0, 7])
def running(
    request: pytest.FixtureRequest, sqlite_url: str, redis_url: str, tmp_path: Path
) -> Iterator[RunningController]:
    """A controller under which files of trials that ended may go at once, or after days."""
    with RunningController(sqlite_url, redis_url, tmp_path, keep_files_days=request.param) as controller:
        yield controller


def leave_files(volume: StateVolume, lease: Lease) -> str:
    (volume.open_attempt(lease).training / "checkpoint.pt").write_bytes(b"weights")
    return lease.trial_id


def test_files_of_trials_that_ended_go_after_some_days(running: RunningController, volume: StateVolume) -> None:
    with running.client() as client, running.http("worker") as http:
        worker = PlayedWorker(http)

        def start(**changes: object) -> Lease:
            training = client.create(training_spec(losses=START, **changes))
            lease = worker.claim(f"{training.id}-000000")
            leave_files(volume, lease)
            return lease

        cancelled, broken, product, compared, open_one = (
            start(),
            start(),
            start(kind="training"),
            start(kind="comparison"),
            start(),
        )
        client.cancel(cancelled.trial_id.partition("-")[0])
        worker.finish(broken, failed("user"))
        worker.finish(product)
        worker.finish(compared)
        (volume._trials / "unknown-000000").mkdir()
        (volume._trials / "no trial").mkdir()
    with Controller(running.url, SecretStr(running.keys["worker"])) as controller:
        cleared = clear_volume(controller, volume)
    removable = {cancelled.trial_id, broken.trial_id, compared.trial_id}
    everything = {product.trial_id, open_one.trial_id, "unknown-000000"} | removable
    gone = removable if running.services.settings.keep_files_days == 0 else set()
    assert set(volume.trial_ids()) == everything - gone
    assert cleared == len(gone)
    assert (volume._trials / "no trial").is_dir()
