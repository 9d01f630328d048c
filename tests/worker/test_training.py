"""The child process: events, ends, and that nothing survives what should end it. A stand-in plays odd trainers."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from analyses import make_analysis
from stack import lives

from paploss.jobs.losses import RankSort
from paploss.jobs.spec import MOST_EVALUATIONS, AnalysisEvent, JobSpec
from paploss.worker.training import Training, trainer_command

START = 'print(\'{"event": "start", "total_iterations": 3}\', flush=True)\n'
RESULT = 'print(\'{"event": "result", "outcome": "succeeded", "reward": 0.5}\', flush=True)\n'
HANG = "import time\nwhile True: time.sleep(60)\n"


class Started:
    """A `Training` of a Python program, with its end as an event."""

    def __init__(self, program: str, log_file: Path) -> None:
        self.end = threading.Event()
        self.training = Training([sys.executable, "-c", program], log_file, os.environ, self.end.set)

    def await_end(self) -> Training:
        assert self.end.wait(60)
        return self.training

    def await_start(self) -> Training:
        _await(lambda: self.training.start is not None)
        return self.training


def _await(condition) -> None:
    give_up_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up_at, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path):
    started: list[Started] = []

    def begin(program: str) -> Started:
        started.append(Started(program, tmp_path / "trainer.log"))
        return started[-1]

    yield begin
    for one in started:
        one.training.kill()
        one.await_end()


def test_events_are_read_and_everything_else_is_logged(start):
    progress = 'print(\'{"event": "progress", "iteration": 2, "total_iterations": 3}\')\n'
    program = START + "import sys\nprint('no event')\nprint('a warning', file=sys.stderr)\n" + progress + RESULT
    training = start(program).await_end()
    assert training.start is not None
    assert training.start.total_iterations == 3
    assert training.progress is not None
    assert training.progress.iteration == 2
    assert training.result is not None
    assert training.result.reward == 0.5
    assert training.exit_status == 0
    assert sorted(training.log_tail().splitlines()) == ["a warning", "no event"]


def test_evaluations_are_collected_in_order(start):
    line = (
        '{"event": "evaluation", "iteration": %d, "total_iterations": 9, "metrics": {"ap": 0.1, "ap50": 0.2, '
        '"ap75": 0.1, "ap_small": -1, "ap_medium": 0.1, "ap_large": 0.1}}'
    )
    training = start("".join(f"print({line % iteration!r})\n" for iteration in (3, 6, 9))).await_end()
    assert [evaluation.iteration for evaluation in training.evaluations] == [3, 6, 9]


def test_an_analysis_is_kept_if_it_keeps_the_contract(start):
    sent, broken = make_analysis(), make_analysis(thumbnail=None).model_dump(mode="json")
    broken["pictures"][0]["thumbnail"] = "bm8gSlBFRw=="
    lines = (AnalysisEvent(analysis=sent).model_dump_json(), json.dumps({"event": "analysis", "analysis": broken}))
    training = start("".join(f"print({line!r})\n" for line in lines)).await_end()
    assert training.analysis == sent
    assert '"bm8gSlBFRw=="' in training.log_tail(20_000)


@pytest.mark.parametrize("line", ['{"event": "result"}', '{"event": "result", "outcome": "succeeded", "reward": NaN}'])
def test_a_result_that_breaks_the_contract_is_no_result(start, line):
    training = start(f"print({line!r})").await_end()
    assert training.result is None
    assert line in training.log_tail()


def test_the_trainers_own_exit_status_is_kept(start):
    assert start("raise SystemExit(75)").await_end().exit_status == 75


def test_a_trainer_killed_by_a_signal_is_told_from_one_that_exits(start):
    assert start("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)").await_end().exit_status == 128 + 11


def test_terminate_reaches_the_trainer_alone_which_may_take_its_time(start):
    helper = (
        "import subprocess, sys\nhelper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    )
    program = (
        "import signal, sys, time\ndef stop(*_):\n    time.sleep(0.2)\n"
        "    print('helper', helper.poll(), file=sys.stderr, flush=True)\n    sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, stop)\n" + helper + START + HANG
    )
    started = start(program)
    started.await_start().terminate()
    training = started.await_end()
    assert training.exit_status == 75
    assert "helper None" in training.log_tail()


NEST = """
import os, subprocess, sys
def nest(depth):
    helper = f"import os; exec(os.environ['NEST']); nest({depth - 1}); import time; time.sleep(60)"
    if depth:
        subprocess.Popen([sys.executable, "-c", helper], start_new_session=True, stdout=subprocess.DEVNULL)
"""
"""Helpers that start helpers, each in a session of its own, as launchers do."""


@pytest.fixture
def nested(monkeypatch):
    """A program's beginning that leaves three processes in three sessions, one under the other."""
    monkeypatch.setenv("NEST", NEST)
    return f"{NEST}\nnest(3)\n"


def test_kill_ends_every_process_whatever_its_session(start, nested):
    started = start(nested + START + HANG)
    training = started.await_start()
    _await(lambda: len(_family(training.pid)) == 5)
    family = _family(training.pid)
    training.kill()
    started.await_end()
    assert not any(map(lives, family))


def test_what_a_trainer_leaves_behind_is_gone_when_it_counts_as_ended(start, nested):
    started = start(nested + START + "sys.stdin.read()\nimport time\ntime.sleep(2)\n")
    training = started.await_start()
    _await(lambda: len(_family(training.pid)) == 5)
    family = _family(training.pid)
    started.await_end()
    assert training.exit_status == 0
    assert not any(map(lives, family))


def test_kill_9_of_the_subreaper_takes_the_trainer_along(start):
    started = start(START + HANG)
    training = started.await_start()
    family = _family(training.pid)[1:]
    os.kill(training.pid, signal.SIGKILL)
    started.await_end()
    assert family
    _await(lambda: not any(map(lives, family)))


def test_only_the_end_of_a_long_log_is_read(start):
    training = start("import sys\nfor i in range(5000): print('line', i, file=sys.stderr)").await_end()
    tail = training.log_tail(max_bytes=100)
    assert len(tail) <= 100
    assert tail.startswith("line ")
    assert tail.endswith("line 4999\n")


def _family(pid: int) -> list[psutil.Process]:
    head = psutil.Process(pid)
    return [head, *head.children(recursive=True)]


def test_the_operators_program_trains_jobs_of_its_profile_alone(tmp_path):
    files = tmp_path / "job.json", tmp_path / "training"
    arguments = [str(files[0]), "--state", str(files[1])]
    own = JobSpec(trial_id="t", profile="command", loss=RankSort())
    assert trainer_command(own, *files, ("python", "mine.py")) == ["python", "mine.py", *arguments]
    ours = [sys.executable, "-m", "paploss.trainer", "run", *arguments]
    assert trainer_command(own, *files, None) == ours
    other = own.model_copy(update={"profile": "retinanet-tiny"})
    assert trainer_command(other, *files, ("python", "mine.py")) == ours


EVALUATE = """
import json
metrics = dict.fromkeys(("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"), 0.5)
event = {"event": "evaluation", "iteration": 1, "total_iterations": 3, "metrics": metrics}
"""


def test_evaluations_beyond_what_messages_hold_are_dropped(start):
    program = EVALUATE + f"for _ in range({MOST_EVALUATIONS} + 5): print(json.dumps(event))\n" + RESULT
    training = start(program).await_end()
    assert len(training.evaluations) == MOST_EVALUATIONS
    assert training.result is not None


def test_an_evaluation_of_many_classes_is_read(start):
    program = EVALUATE + "metrics['per_class'] = {f'{n:0>200}': 0.5 for n in range(10_000)}\nprint(json.dumps(event))\n"
    (evaluation,) = start(program + RESULT).await_end().evaluations
    assert len(evaluation.metrics.per_class) == 10_000
