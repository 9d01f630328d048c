"""What a trainer is given, and how its course and its end are told."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from played_controller import PlayedController, PlayedTime

from paploss.controller.settings import Settings
from paploss.jobs.lease import (
    PROTOCOL,
    Accepted,
    Command,
    Lease,
    ReleaseRequest,
    RenewReply,
    RenewRequest,
    ResultRequest,
    encode,
)
from paploss.jobs.losses import RankSort
from paploss.jobs.spec import JobResult, JobSpec
from paploss.worker.attempt import AttemptRun, MachineSign, describe_ending, trainer_environment
from paploss.worker.controller import Controller, RefusedError
from paploss.worker.delivery import Deliveries
from paploss.worker.gpus import GpuWatch
from paploss.worker.state import StateVolume


def test_a_trainer_never_sees_keys_and_addresses_of_the_platform():
    needed = {"PATH": "/bin", "PAPLOSS_COMMIT": "abc"}
    secret = {"PAPLOSS_KEY": "secret", "PAPLOSS_DATABASE_URL": "postgresql://u:secret@db/x"}
    assert trainer_environment(needed | secret) == needed | {"OMP_WAIT_POLICY": "passive"}


def test_threads_of_a_training_leave_the_cores_to_others_while_they_wait_unless_told_otherwise():
    assert trainer_environment({})["OMP_WAIT_POLICY"] == "passive"
    assert trainer_environment({"OMP_WAIT_POLICY": "active"})["OMP_WAIT_POLICY"] == "active"


@pytest.mark.parametrize(
    ("exit_status", "text"),
    [
        (70, "exit status 70"),
        (128 + 11, "signal 11"),
        (-15, "signal 15"),
        (137, "killed, perhaps by the kernel"),
        (255, "exit status 255"),  # of sys.exit(-1): there is no signal 127
    ],
)
def test_the_ending_of_a_trainer_is_told_in_words(exit_status, text):
    assert describe_ending(exit_status).startswith(text)


def run_attempt(
    folder: Path, controller: PlayedController, program: str, *arguments: object, timeout_seconds: float = 60
) -> MachineSign:
    """An attempt whose trainer is `program`, in Python; PROGRESS and result(...) are lines for it."""
    time = PlayedTime()
    job = JobSpec(trial_id="t-000000", profile="command", loss=RankSort(), timeout_seconds=timeout_seconds)
    lease = Lease(trial_id=job.trial_id, token="0" * 32, attempt=1, lease_seconds=60, renew_seconds=0.05, job=job)
    volume = StateVolume(folder)
    return AttemptRun(
        lease,
        cast(Controller, controller),
        volume,
        Deliveries(cast(Controller, controller), volume, time, time.clock),
        GpuWatch(),
        environment={},
        command=[sys.executable, "-c", program, *map(str, arguments)],
        grace_seconds=1,
        stopping=time,
    ).run()


PROGRESS = 'print(\'{"event": "progress", "iteration": 1, "total_iterations": 3}\', flush=True)\n'
HANG = "import time\nwhile True: time.sleep(60)\n"


def result(**fields: Any) -> str:
    return f"print({JobResult(**fields).model_dump_json()!r}, flush=True)\n"


SUCCESS = result(outcome="succeeded", reward=0.5)


class AgreeableController(PlayedController):
    """Accepts everything, and answers renewals with `command`, or refuses them with a status."""

    def __init__(self, command: Command | int = "continue") -> None:
        super().__init__(lambda _: Accepted(state="queued"))
        self._command = command

    def renew(self, request: Any) -> Any:
        """A command, or a refusal."""
        super().renew(request)
        if isinstance(self._command, int):
            raise RefusedError(self._command, "because")
        return RenewReply(command=self._command)

    def told(self, kind: type[Any]) -> list[Any]:
        """The requests of one kind."""
        return [request for request in self.requests if isinstance(request, kind)]


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        (PROGRESS + "raise SystemExit(1)", "stepped"),
        ("raise SystemExit(1)", "never_stepped"),
        ("", "never_stepped"),  # an end without a result
        (result(outcome="failed", error_kind="out_of_memory", error="x"), "never_stepped"),
        (result(outcome="failed", error_kind="user", error="x"), "unknown"),  # whichever machine trains it
        ("raise SystemExit(75)", "unknown"),
        (SUCCESS, "unknown"),
    ],
)
def test_what_an_attempt_says_of_its_machine(tmp_path: Path, program: str, verdict: MachineSign) -> None:
    assert run_attempt(tmp_path, AgreeableController(), program) == verdict


def test_a_trainer_that_leaves_off_by_itself_with_a_checkpoint_is_released_and_has_not_failed(tmp_path: Path) -> None:
    controller = AgreeableController()
    run_attempt(tmp_path, controller, "raise SystemExit(75)")
    assert [request.reason for request in controller.told(ReleaseRequest)] == ["preempted"]
    assert controller.told(ResultRequest) == []


def test_a_trainer_that_does_not_end_after_its_result_is_killed_and_the_result_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paploss.worker.attempt._AFTER_RESULT_SECONDS", 0.1)
    controller = AgreeableController()
    run_attempt(tmp_path, controller, SUCCESS + HANG)
    assert [request.result.reward for request in controller.told(ResultRequest)] == [0.5]


def test_a_training_that_takes_too_long_is_killed_and_fails(tmp_path: Path) -> None:
    controller = AgreeableController()
    run_attempt(tmp_path, controller, HANG, timeout_seconds=0.5)
    (failure,) = (request.result for request in controller.told(ResultRequest))
    assert failure.error_kind == "timeout"
    assert failure.error == "the training took longer than its timeout of 0.5 s"


@pytest.mark.parametrize(("command", "files"), [("cancel", []), (410, ["t-000000"])])
def test_files_go_with_a_cancelled_trial_and_stay_for_whoever_has_the_lease_now(
    tmp_path: Path, command: Command | int, files: list[str]
) -> None:
    controller = AgreeableController(command)
    run_attempt(tmp_path, controller, HANG)
    assert controller.told(ResultRequest) == controller.told(ReleaseRequest) == []
    assert StateVolume(tmp_path).trial_ids() == files


def test_a_training_that_is_paused_is_released_and_charged_to_no_budget(tmp_path: Path) -> None:
    controller = AgreeableController("pause")
    run_attempt(tmp_path, controller, HANG)
    assert [request.reason for request in controller.told(ReleaseRequest)] == ["paused"]
    assert controller.told(ResultRequest) == []


TALKATIVE = """
import json, os, sys, time
classes = {f"{number:0>100}": 0.123456789012345 for number in range(int(sys.argv[1]))}
metrics = dict.fromkeys(("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"), 0.5) | {"per_class": classes}
print(json.dumps({"event": "start", "total_iterations": 400}), flush=True)
for iteration in range(1, int(sys.argv[2]) + 1):
    event = {"event": "evaluation", "iteration": iteration, "total_iterations": 400, "metrics": metrics}
    print(json.dumps(event), flush=True)
while not os.path.exists(sys.argv[3]):
    time.sleep(0.01)
print(json.dumps({"event": "result", "outcome": "succeeded", "reward": 0.5}), flush=True)
"""
"""A trainer that tells evaluations, waits for a file and succeeds."""


class BoundedController(PlayedController):
    """Takes messages of the size that a controller takes; makes `file` after a renewal once `is_enough`."""

    def __init__(self, file: Path, is_enough: Callable[["BoundedController"], bool]) -> None:
        super().__init__(lambda _: None)
        self.taken: list[RenewRequest | ResultRequest] = []
        self._file, self._is_enough = file, is_enough

    @property
    def told(self) -> list[int]:
        """Iterations of the evaluations in renewals."""
        return [one.iteration for each in self.taken if isinstance(each, RenewRequest) for one in each.evaluations]

    @property
    def refused(self) -> int:
        """How many messages were too large."""
        return len(self.requests) - len(self.taken)

    def _answer(self, request: Any) -> Any:
        super()._answer(request)
        if len(encode(request, PROTOCOL)) > Settings.model_fields["max_body_bytes"].default:
            raise RefusedError(413, "too large")
        self.taken.append(request)
        if isinstance(request, ResultRequest):
            return Accepted(state="succeeded")
        if self._is_enough(self):
            self._file.touch()
        return RenewReply(command="continue")


def test_however_many_evaluations_there_are_each_is_told_once_and_no_message_is_too_large(tmp_path: Path) -> None:
    """80 classes measured 400 times are 4 MB."""
    controller = BoundedController(tmp_path / "enough", lambda controller: len(controller.told) >= 400)
    run_attempt(tmp_path, controller, TALKATIVE, 80, 400, tmp_path / "enough")
    assert controller.told == list(range(1, 401))
    assert controller.refused == 0
    ended = controller.taken[-1]
    assert isinstance(ended, ResultRequest)
    assert ended.result.reward == 0.5
    assert ended.evaluations[-1].iteration == 400


def test_an_evaluation_that_is_too_large_for_a_message_costs_neither_the_lease_nor_the_result(tmp_path: Path) -> None:
    controller = BoundedController(tmp_path / "enough", lambda controller: controller.refused == 2)
    run_attempt(tmp_path, controller, TALKATIVE, 10_000, 2, tmp_path / "enough")
    assert controller.told == []
    assert controller.refused == 3  # that of the result too, which then goes without
    ended = controller.taken[-1]
    assert isinstance(ended, ResultRequest)
    assert (ended.result.reward, ended.evaluations) == (0.5, ())
