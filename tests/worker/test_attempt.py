"""What a trainer is given, and how its course and its end are told."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from played_controller import PlayedController, PlayedTime

from paploss.controller.settings import Settings
from paploss.jobs.lease import PROTOCOL, Accepted, Lease, RenewReply, RenewRequest, ResultRequest, encode
from paploss.jobs.losses import RankSort
from paploss.jobs.spec import JobSpec
from paploss.worker.attempt import AttemptRun, describe_ending, trainer_environment
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


def run_talkative(
    folder: Path, classes: int, evaluations: int, is_enough: Callable[[BoundedController], bool]
) -> BoundedController:
    controller, time = BoundedController(folder / "told", is_enough), PlayedTime()
    job = JobSpec(trial_id="t-000000", profile="command", loss=RankSort(), timeout_seconds=60)
    lease = Lease(trial_id=job.trial_id, token="0" * 32, attempt=1, lease_seconds=60, renew_seconds=0.05, job=job)
    volume = StateVolume(folder)
    AttemptRun(
        lease,
        cast(Controller, controller),
        volume,
        Deliveries(cast(Controller, controller), volume, time, time.clock),
        GpuWatch(),
        environment={},
        command=[sys.executable, "-c", TALKATIVE, str(classes), str(evaluations), str(folder / "told")],
        grace_seconds=1,
        stopping=time,
    ).run()
    return controller


def test_however_many_evaluations_there_are_each_is_told_once_and_no_message_is_too_large(tmp_path: Path) -> None:
    """80 classes measured 400 times are 4 MB."""
    controller = run_talkative(tmp_path, 80, 400, lambda controller: len(controller.told) >= 400)
    assert controller.told == list(range(1, 401))
    assert controller.refused == 0
    result = controller.taken[-1]
    assert isinstance(result, ResultRequest)
    assert result.result.reward == 0.5
    assert result.evaluations[-1].iteration == 400


def test_an_evaluation_that_is_too_large_for_a_message_costs_neither_the_lease_nor_the_result(tmp_path: Path) -> None:
    controller = run_talkative(tmp_path, 10_000, 2, lambda controller: controller.refused == 2)
    assert controller.told == []
    assert controller.refused == 3  # that of the result too, which then goes without
    result = controller.taken[-1]
    assert isinstance(result, ResultRequest)
    assert (result.result.reward, result.evaluations) == (0.5, ())
