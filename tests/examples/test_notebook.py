"""The example notebook runs from its first cell to its last, against a real controller."""

import json
import runpy
import threading
from collections.abc import Iterator
from pathlib import Path

import plotly.graph_objects as go
import pytest
from charts import ROOT
from controllers import PlayedWorker, RunningController

from paploss.jobs.losses import parse_loss


@pytest.fixture
def platform(sqlite_url: str, redis_url: str, tmp_path: Path) -> Iterator[RunningController]:
    """A controller with a worker that runs whatever is queued."""
    ended = threading.Event()

    def work(running: RunningController) -> None:
        with running.client() as client, running.http("worker") as http:
            worker = PlayedWorker(http)
            while not ended.is_set():
                for search in client.list_experiments(state="running"):
                    for trial in client.trials(search.id, state="queued"):
                        worker.run(trial.id)

    with RunningController(sqlite_url, redis_url, tmp_path) as running:
        thread = threading.Thread(target=work, args=(running,))
        thread.start()
        yield running
        ended.set()
        thread.join()


def test_the_notebook_runs(
    platform: RunningController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAPLOSS_CONTROLLER_URL", platform.url)
    monkeypatch.setenv("PAPLOSS_KEY", platform.keys["user"])
    cells = runpy.run_path(str(ROOT / "examples" / "notebook.py"))
    assert cells["finished"].state == "succeeded"
    assert cells["best"].confirmed
    assert parse_loss(json.loads((tmp_path / "found-loss.json").read_bytes()), strict=True) == cells["best"].loss
    for name in ("rewards", "functions", "policy"):
        assert isinstance(cells[name], go.Figure)
        assert cells[name].data
    told = capsys.readouterr().out.splitlines()
    assert "round 4: 6 rewards" in " ".join(told)
    assert told[0].startswith("running: 0 of ")
