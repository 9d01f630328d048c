"""What attempts leave behind for their successors."""

import errno
from pathlib import Path

import pytest

from paploss.files import write_whole
from paploss.jobs.lease import Lease, ResultRequest
from paploss.jobs.presets import identity
from paploss.jobs.spec import JobResult, JobSpec, PrunePoint
from paploss.worker.state import StateVolume

JOB = JobSpec(trial_id="s1-3", profile="synthetic", loss=identity(["bbox_head"]))
REWARD = JobResult(outcome="succeeded", reward=0.25)


def lease(attempt: int, job: JobSpec = JOB, token: str | None = None) -> Lease:
    token = token or f"{attempt:032x}"[::-1]
    return Lease(trial_id=job.trial_id, attempt=attempt, token=token, lease_seconds=60, renew_seconds=5, job=job)


def request(attempt: int, result: JobResult = REWARD) -> ResultRequest:
    return ResultRequest(trial_id=JOB.trial_id, token=lease(attempt).token, result=result)


@pytest.fixture
def volume(tmp_path: Path) -> StateVolume:
    return StateVolume(tmp_path / "state")


def test_an_attempt_starts_with_its_job_and_an_empty_training_folder(volume):
    folder = volume.open_attempt(lease(1))
    assert folder.job() == JOB
    assert list(folder.training.iterdir()) == []


def test_a_successor_starts_from_the_newest_checkpoint(volume):
    (volume.open_attempt(lease(1)).training / "checkpoint.pt").write_text("first")
    (volume.open_attempt(lease(2)).training / "checkpoint.pt").unlink()
    second = volume.open_attempt(lease(2)).training / "checkpoint.pt"
    assert second.read_text() == "first"
    write_whole(second, "second")
    assert (volume.open_attempt(lease(3)).training / "checkpoint.pt").read_text() == "second"


def test_a_predecessor_that_still_runs_cannot_touch_its_successors_checkpoint(volume):
    stale = volume.open_attempt(lease(1)).training / "checkpoint.pt"
    write_whole(stale, "iteration 10")
    fresh = volume.open_attempt(lease(2)).training / "checkpoint.pt"
    write_whole(stale, "iteration 20, of a lost lease")
    assert fresh.read_text() == "iteration 10"
    write_whole(fresh, "iteration 15")
    assert stale.read_text() == "iteration 20, of a lost lease"


def test_two_attempts_of_one_number_have_folders_of_their_own(volume):
    one = volume.open_attempt(lease(1, token="a" * 32))
    other = volume.open_attempt(lease(1, token="b" * 32))
    assert one.path != other.path


def test_checkpoints_are_copied_where_the_volume_knows_no_links(volume, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    (volume.open_attempt(lease(1)).training / "checkpoint.pt").write_text("first")
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert (volume.open_attempt(lease(2)).training / "checkpoint.pt").read_text() == "first"


def test_a_copy_that_was_broken_off_is_no_checkpoint(volume, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    def break_off(_source, target):
        Path(target).write_text("fi")
        raise OSError(errno.EIO, "the volume is gone")

    (volume.open_attempt(lease(1)).training / "checkpoint.pt").write_text("first")
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with monkeypatch.context() as broken:
        broken.setattr("shutil.copy2", break_off)
        with pytest.raises(OSError, match="gone"):
            volume.open_attempt(lease(2))
    assert (volume.open_attempt(lease(3)).training / "checkpoint.pt").read_text() == "first"


def test_a_successor_has_all_files_of_a_checkpoint_though_an_attempt_was_killed_while_it_took_them_over(
    volume, monkeypatch
):
    checkpoint = {"step-7/model.bin": "weights", "step-7/optimizer.bin": "moments", "trainer.json": "7"}
    first = volume.open_attempt(lease(1)).training
    (first / "step-7").mkdir()
    for name, content in checkpoint.items():
        (first / name).write_text(content)
    link, linked = Path.hardlink_to, []

    def killed_at_the_last(target, source):
        if len(linked) == len(checkpoint) - 1:
            raise KeyboardInterrupt
        linked.append(source)
        link(target, source)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "hardlink_to", killed_at_the_last)
        with pytest.raises(KeyboardInterrupt):
            volume.open_attempt(lease(2))
    third = volume.open_attempt(lease(3)).training
    found = {str(file.relative_to(third)): file.read_text() for file in third.rglob("*") if file.is_file()}
    assert found == checkpoint


def test_half_written_files_are_not_carried_over(volume):
    (volume.open_attempt(lease(1)).training / ".checkpoint.pt.77").write_text("half")
    assert list(volume.open_attempt(lease(2)).training.iterdir()) == []


def test_a_checkpoint_of_another_training_under_the_same_id_is_left_alone(volume):
    (volume.open_attempt(lease(1)).training / "checkpoint.pt").write_text("first")
    other = JOB.model_copy(update={"seed": 9})
    assert list(volume.open_attempt(lease(2, other)).training.iterdir()) == []


SHORT = JOB.model_copy(update={"length": 0.25})
LONGER = JOB.model_copy(update={"trial_id": "s1-9", "length": 0.5, "continues": JOB.trial_id})


def test_a_trial_that_continues_another_starts_from_its_checkpoint(volume):
    write_whole(volume.open_attempt(lease(1, SHORT)).training / "checkpoint.pt", "a quarter")
    carried = volume.open_attempt(lease(1, LONGER)).training / "checkpoint.pt"
    assert carried.read_text() == "a quarter"
    write_whole(carried, "three eighths")
    again = volume.open_attempt(lease(2, LONGER)).training / "checkpoint.pt"
    assert again.read_text() == "three eighths"  # its own comes before the shorter trial's


@pytest.mark.parametrize("change", [{"seed": 9}, {"length": 0.5}, {"learning_rate_factor": 2.0}])
def test_a_trial_continues_nothing_but_its_own_training(volume, change):
    write_whole(volume.open_attempt(lease(1, SHORT.model_copy(update=change))).training / "checkpoint.pt", "other")
    assert list(volume.open_attempt(lease(1, LONGER)).training.iterdir()) == []


def test_a_trial_whose_shorter_one_left_no_files_starts_with_an_empty_folder(volume):
    assert list(volume.open_attempt(lease(1, LONGER)).training.iterdir()) == []


@pytest.mark.parametrize("result", [REWARD, JobResult(outcome="pruned", reward=0.1)])
def test_a_result_that_never_counted_is_found_by_the_next_attempt(volume, result):
    assert volume.finished_result(lease(2)) is None
    volume.open_attempt(lease(1)).write_result(request(1, result))
    found = volume.finished_result(lease(2))
    assert found is not None
    assert found.result == result


@pytest.mark.parametrize("changed", [{"prune": (PrunePoint(fraction=0.5, min_ap=0.1),)}, {"timeout_seconds": 60.0}])
def test_pruning_points_and_a_timeout_do_not_make_it_another_training(volume, changed):
    volume.open_attempt(lease(1)).write_result(request(1))
    assert volume.finished_result(lease(2, JOB.model_copy(update=changed))) is not None


def test_a_failure_is_not_handed_on_as_a_result(volume):
    crash = JobResult(outcome="failed", error_kind="crash", error="x")
    volume.open_attempt(lease(1)).write_result(request(1, crash))
    assert volume.finished_result(lease(2)) is None


def test_a_result_of_another_training_under_the_same_id_is_not_used(volume):
    volume.open_attempt(lease(1)).write_result(request(1))
    assert volume.finished_result(lease(2, JOB.model_copy(update={"seed": 9}))) is None


def test_a_result_is_undelivered_until_its_answer_is_noted(volume):
    folder = volume.open_attempt(lease(1))
    assert list(volume.undelivered()) == []
    folder.write_result(request(1))
    assert list(volume.undelivered()) == [folder]
    folder.write_answer("succeeded")
    assert list(volume.undelivered()) == []


def test_a_damaged_result_is_no_result(volume):
    folder = volume.open_attempt(lease(1))
    folder.result_file.write_text('{"trial_id": "s1-3"')
    assert folder.result() is None
    assert volume.finished_result(lease(2)) is None


def test_pruning_removes_everything_of_a_trial_and_nothing_else(volume):
    folder = volume.open_attempt(lease(1))
    other = volume.open_attempt(lease(1, JOB.model_copy(update={"trial_id": "s1-4"})))
    volume.remove(JOB.trial_id)
    assert not folder.path.parent.exists()
    assert other.path.exists()


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    write_whole(tmp_path / "a.json", "one")
    write_whole(tmp_path / "a.json", "two")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "two")]
