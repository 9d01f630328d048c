"""A worker process over its whole life, against a real controller, Redis and trainer (the profile `synthetic`)."""

import json
import signal

import psutil
import pytest
from stack import Stack, lives, wait_until

from paploss.worker.__main__ import main

LONG = {"iterations": 400, "iteration_seconds": 0.05}
SHORT = {"iterations": 5}


def wait_for_progress(stack: Stack, training: str, iterations: int = 1) -> None:
    wait_until(lambda: stack.trial(training)["iteration"] >= iterations, "the trial to get on")


def test_a_trial_is_run_its_result_counted_and_its_files_removed(stack):
    stack.start_worker()
    training = stack.submit_training(synthetic=SHORT)
    stack.wait_for(training, "succeeded")
    trial = stack.trial(training)
    assert trial["state"] == "succeeded"
    assert 0 < trial["reward"] <= 1
    assert [attempt["outcome"] for attempt in trial["attempt_list"]] == ["succeeded"]
    assert trial["evaluations"]
    wait_until(lambda: not list((stack.state / "trials").iterdir()), "the trial's files to be removed")


def test_a_final_training_keeps_its_weights(stack):
    stack.start_worker()
    training = stack.submit_training(kind="training", synthetic=SHORT)
    stack.wait_for(training, "succeeded")
    (folder,) = (stack.state / "trials" / stack.trial(training)["id"]).iterdir()
    wait_until((folder / "answered.json").exists, "the answer to be noted")
    assert stack.trial(training)["checkpoint"].startswith(str(folder))


def test_sigterm_releases_the_trial_with_a_checkpoint_and_the_next_attempt_goes_on(stack):
    stack.start_worker("first")
    training = stack.submit_training(synthetic=LONG)
    wait_for_progress(stack, training, 10)
    assert stack.kill_worker("first", signal.SIGTERM) == 0
    trial = stack.trial(training)
    assert trial["state"] == "queued"
    assert (trial["preemptions"], trial["failed_attempts"]) == (1, 0)
    stack.start_worker("second")
    wait_for_progress(stack, training, trial["iteration"] + 1)
    attempts = wait_until(
        lambda: [one for one in stack.trial(training)["attempt_list"] if one["started_at"]][1:], "a second attempt"
    )
    wait_until(lambda: stack.trial(training)["attempt_list"][1]["resumed_iteration"] >= 10, "the checkpoint to be used")
    assert attempts[0]["worker"] == "second"


def test_pausing_releases_uncharged_and_resuming_goes_on_from_the_checkpoint(stack):
    stack.start_worker()
    training = stack.submit_training(synthetic=LONG)
    wait_for_progress(stack, training, 10)
    stack.post(f"experiments/{training}/pause")
    trial = wait_until(lambda: (found := stack.trial(training))["state"] == "queued" and found, "the release")
    assert (trial["preemptions"], trial["failed_attempts"]) == (0, 0)
    assert trial["attempt_list"][0]["outcome"] == "paused"
    assert stack.trainers() == []
    stack.post(f"experiments/{training}/resume")
    wait_until(
        lambda: [one["resumed_iteration"] for one in stack.trial(training)["attempt_list"]][1:] > [9], "a resume"
    )


def test_cancelling_ends_the_trainer_and_removes_its_files(stack):
    stack.start_worker()
    training = stack.submit_training(synthetic={"fault": "hang", "fault_iteration": 2, "iterations": 5})
    wait_for_progress(stack, training)
    assert stack.trainers()
    stack.post(f"experiments/{training}/cancel")
    wait_until(lambda: not stack.trainers(), "the deaf trainer to be killed")
    wait_until(lambda: not list((stack.state / "trials").iterdir()), "the trial's files to be removed")
    assert stack.trial(training)["state"] == "cancelled"


def test_a_deaf_trainer_is_killed_after_the_grace_when_the_worker_is_stopped(stack):
    stack.start_worker(PAPLOSS_GRACE_SECONDS="1")
    training = stack.submit_training(synthetic={"fault": "hang", "fault_iteration": 2, "iterations": 5})
    wait_for_progress(stack, training)
    assert stack.kill_worker(number=signal.SIGTERM) == 0
    assert stack.trial(training)["state"] == "queued"


def test_a_crash_is_reported_with_its_log_and_retried_within_the_budget(stack):
    stack.start_worker()
    fault = {"fault": "crash", "fault_iteration": 1, "fault_attempts": 1, "iterations": 5}
    training = stack.submit_training(synthetic=fault)
    stack.wait_for(training, "succeeded")
    first, second = stack.trial(training)["attempt_list"]
    assert first["error_kind"] == "crash"
    assert "exit status 70" in first["error"]
    assert second["outcome"] == "succeeded"


def test_a_users_mistake_fails_the_trial_at_once(stack):
    stack.start_worker()
    training = stack.submit_training(synthetic={"fault": "user_error", "iterations": 5})
    stack.wait_for(training, "failed")
    trial = stack.trial(training)
    assert trial["error_kind"] == "user"
    assert len(trial["attempt_list"]) == 1


def test_a_training_that_takes_too_long_fails_with_a_timeout(stack):
    stack.start_worker()
    training = stack.submit_training(synthetic=LONG, timeout_seconds=1.5, budgets={"max_failed_attempts": 1})
    stack.wait_for(training, "failed")
    assert stack.trial(training)["error_kind"] == "timeout"
    assert "1.5 s" in stack.trial(training)["error"]


@pytest.mark.slow
def test_training_goes_on_while_the_controller_is_away_and_the_result_is_delivered_later(stack):
    stack.start_worker()
    training = stack.submit_training(synthetic={"iterations": 40, "iteration_seconds": 0.05})
    wait_for_progress(stack, training)
    stack.kill_controller()
    wait_until(lambda: list((stack.state / "trials").glob("*/*/result.json")), "the result on disk")
    stack.start_controller()
    stack.wait_for(training, "succeeded")
    assert len(stack.trial(training)["attempt_list"]) == 1


@pytest.mark.slow
def test_a_result_that_a_worker_left_behind_is_delivered_by_the_next_one(stack):
    stack.start_worker("first")
    training = stack.submit_training(synthetic={"iterations": 40, "iteration_seconds": 0.05})
    wait_for_progress(stack, training)
    stack.kill_controller()
    wait_until(lambda: list((stack.state / "trials").glob("*/*/result.json")), "the result on disk")
    assert stack.kill_worker("first", signal.SIGTERM) == 0
    stack.start_controller()
    stack.start_worker("second")
    stack.wait_for(training, "succeeded")
    attempts = stack.trial(training)["attempt_list"]
    assert [attempt["outcome"] for attempt in attempts].count("succeeded") == 1


def test_kill_9_of_the_worker_leaves_no_trainer(stack):
    stack.start_worker()
    training = stack.submit_training(synthetic=LONG)
    wait_for_progress(stack, training)
    family = psutil.Process(stack.workers["w0"].pid).children(recursive=True)
    assert len(family) >= 2
    stack.kill_worker()
    wait_until(lambda: not any(map(lives, family)), "the end of all")


def test_several_slots_run_several_trials_at_a_time(stack):
    stack.start_worker(PAPLOSS_SLOTS="2")
    training = stack.submit_training(synthetic=LONG, seeds=[0, 1])
    wait_until(lambda: {trial["worker"] for trial in stack.trials(training)} == {"w0/0", "w0/1"}, "two at a time")


def test_slots_that_share_a_machine_have_their_own_gpus(stack, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nfor number in 0 1 2; do echo 'a model'; done\n")
    tool.chmod(0o755)
    path = f"{tmp_path}:{stack.environment['PATH']}"
    stack.start_worker(PAPLOSS_SLOTS="4", PAPLOSS_GPUS="[1]", PAPLOSS_CHECK_GPUS="false", PATH=path)
    stack.submit_training(synthetic=LONG, gpus=1, seeds=[0, 1, 2, 3])

    def visible() -> list[str]:
        return sorted(trainer.environ()["CUDA_VISIBLE_DEVICES"] for trainer in stack.trainers())

    wait_until(lambda: len(stack.trainers()) == 4, "four at a time")
    assert visible() == ["0", "0", "1", "2"]  # the fourth slot shares the first GPU


def test_a_worker_without_the_gpus_of_its_pool_refuses_to_start_and_says_why(stack):
    process = stack.start_worker(PAPLOSS_GPUS="[2]", CUDA_VISIBLE_DEVICES="")
    assert process.wait(180) == 2
    last = json.loads(stack.log("w0").strip().rpartition("\n")[2])
    assert last["message"].startswith(
        "gpus: trials need 2, torch sees 0; is the device plugin's runtime class in force"
    )


def test_a_worker_without_work_ends_after_its_idle_time(stack):
    process = stack.start_worker(PAPLOSS_IDLE_SECONDS="0.5")
    assert process.wait(60) == 0


def test_a_worker_whose_key_is_refused_says_so_and_ends(stack):
    process = stack.start_worker(PAPLOSS_KEY="paploss_wrong")
    stack.submit_training(synthetic=SHORT)
    assert process.wait(60) == 1
    assert "the controller rejects this worker" in stack.log("w0")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"PAPLOSS_SLOTS": "0"}, "slots: Input should be greater than or equal to 1"),
        ({"PAPLOSS_KEY_FILE": "/nowhere"}, "key, key_file: expected one of them"),
        ({"PAPLOSS_REDIS_URL": "nonsense"}, "redis_url: "),
        ({"PAPLOSS_CONTROLLER_URL": "127.0.0.1:8080"}, "controller_url: 127.0.0.1:8080: expected an address"),
        ({"PAPLOSS_STATE_DIR": "/proc/nowhere"}, "state_dir: cannot use /proc/nowhere"),
    ],
)
def test_bad_settings_are_named_and_end_the_worker(tmp_path, monkeypatch, capsys, caplog, settings, message):  # noqa: PLR0917
    for name, value in ({"PAPLOSS_KEY": "x", "PAPLOSS_STATE_DIR": str(tmp_path)} | settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["worker"])
    monkeypatch.setattr("paploss.worker.__main__.start_logging", lambda *_, **__: None)
    assert main() == 2
    assert message in capsys.readouterr().err + caplog.text
