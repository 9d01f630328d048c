"""A training on several GPUs leaves no process, whoever is killed. Two ranks of a real torchrun, on the CPU."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from stack import lives, wait_until

from paploss.jobs.presets import identity
from paploss.jobs.spec import JobSpec, Overrides, SyntheticOptions

pytestmark = pytest.mark.faults

LAUNCH = "import sys; from paploss.trainer.launch import run_on_gpus; sys.exit(run_on_gpus(sys.argv[1:], 2))"
WORKER = """
import os, sys
from pathlib import Path
from paploss.worker.training import Training
folder, *command = sys.argv[1:]
training = Training([sys.executable, *command], Path(folder) / "trainer.log", os.environ, lambda: None)
print(training.pid, flush=True)
sys.stdin.readline()
training.kill()
sys.stdin.readline()
"""
MARK = "TEST_ATTEMPT"
DEAF = {"profile": "synthetic", "synthetic": SyntheticOptions(fault="hang", fault_iteration=1)}
LONG = {"profile": "retinanet-tiny", "overrides": Overrides(epochs=1000, batch_size=4, image_size_px=64)}


class Ranks:
    """A worker that runs one training of two ranks."""

    def __init__(self, folder: Path, **job: object) -> None:
        spec = JobSpec(trial_id="s1-0", loss=identity(["bbox_head"]), **job)
        (folder / "job.json").write_text(spec.model_dump_json())
        self.log_file = folder / "trainer.log"
        self.mark = uuid.uuid4().hex
        arguments = ["-c", LAUNCH, "run", str(folder / "job.json"), "--state", str(folder / "state")]
        arguments += ["--checkpoint-seconds", "0", "--loading-processes", "1"]
        self.worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {MARK: self.mark, "OMP_NUM_THREADS": "1"},
        )
        assert self.worker.stdout is not None
        self.subreaper = psutil.Process(int(self.worker.stdout.readline()))

    def members(self) -> list[psutil.Process]:
        """Every live process of the training, wherever it has gone."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark and process.pid != self.worker.pid:
                    found.append(process)
        return list(filter(lives, found))

    def ranks(self) -> list[psutil.Process]:
        found = []
        for process in self.members():
            with suppress(psutil.Error):
                if "RANK" in process.environ():
                    found.append(process)
        return found

    def kill_training(self) -> None:
        assert self.worker.stdin is not None
        self.worker.stdin.write("\n")
        self.worker.stdin.flush()

    def kill_worker(self) -> None:
        self.worker.kill()

    def kill_subreaper(self) -> None:
        self.subreaper.kill()

    def kill_launcher(self) -> None:
        (launcher,) = self.subreaper.children()
        launcher.kill()

    def close(self) -> None:
        for process in self.members():
            with suppress(psutil.Error):
                process.kill()
        self.worker.kill()
        self.worker.communicate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Ranks]]:
    started: list[Ranks] = []

    def begin(**job: object) -> Ranks:
        started.append(Ranks(tmp_path, **job))
        return started[-1]

    yield begin
    for one in started:
        one.close()


@pytest.mark.parametrize("strike", [Ranks.kill_training, Ranks.kill_worker, Ranks.kill_subreaper, Ranks.kill_launcher])
def test_deaf_ranks_end_whoever_is_killed(start: Callable[..., Ranks], strike: Callable[[Ranks], None]) -> None:
    training = start(**DEAF)
    wait_until(lambda: training.log_file.read_text().count("synthetic: hanging") == 2, "both ranks to hang")
    sessions = {os.getsid(rank.pid) for rank in training.ranks()}
    assert len(sessions) == 2
    assert os.getsid(training.subreaper.pid) not in sessions
    strike(training)
    wait_until(lambda: not training.members(), "the end of every process")


@pytest.mark.slow
@pytest.mark.parametrize("strike", [Ranks.kill_training, Ranks.kill_subreaper])
def test_ranks_that_train_together_end_with_all_their_helpers(
    start: Callable[..., Ranks], strike: Callable[[Ranks], None]
) -> None:
    training = start(**LONG)
    wait_until((training.log_file.parent / "state" / "checkpoint.pt").exists, "a checkpoint")
    assert len(training.ranks()) >= 4  # two ranks, and two processes that load images for them
    strike(training)
    wait_until(lambda: not training.members(), "the end of every process")
