import pytest
import torch

from paploss.trainer.checkpoint import FILE_NAME, TrainingProgress, load_checkpoint, save_checkpoint
from paploss.trainer.errors import UserError


def test_progress_and_tensors_come_back(tmp_path):
    progress = TrainingProgress("job", 7, 1.5, [{"iteration": 3, "metrics": {"ap": 0.25}}], {"bbox_head": 2})
    weights = {"weight": torch.randn(3)}
    path = save_checkpoint(tmp_path, progress, {"model": weights})
    found, states = load_checkpoint(tmp_path, "job")
    assert path == tmp_path / FILE_NAME
    assert found == progress
    assert torch.equal(states["model"]["weight"], weights["weight"])


def test_one_file_is_replaced(tmp_path):
    for iteration in (1, 2):
        save_checkpoint(tmp_path, TrainingProgress("job", iteration), {})
    assert [one.name for one in tmp_path.iterdir()] == [FILE_NAME]
    assert load_checkpoint(tmp_path, "job")[0].iteration == 2


def test_a_checkpoint_of_another_job_is_refused(tmp_path):
    save_checkpoint(tmp_path, TrainingProgress("job"), {})
    with pytest.raises(UserError, match=r"checkpoint\.pt: belongs to another job"):
        load_checkpoint(tmp_path, "another")


def test_no_checkpoint_is_none(tmp_path):
    assert load_checkpoint(tmp_path, "job") is None


def test_a_checkpoint_that_is_damaged_is_none(tmp_path, caplog):
    path = save_checkpoint(tmp_path, TrainingProgress("job", 3), {"model": {"weight": torch.randn(300)}})
    whole = path.read_bytes()
    for damaged in (b"", whole[:-200], bytes(len(whole)), whole.replace(b"progress", b"regresso")):
        path.write_bytes(damaged)
        assert load_checkpoint(tmp_path, "job") is None
    assert caplog.text.count("is damaged, the training starts anew") == 4


def test_a_checkpoint_that_cannot_be_read_now_is_kept_for_later(tmp_path):
    (tmp_path / FILE_NAME).symlink_to("/proc/self/mem")  # reading it is an input/output error
    with pytest.raises(OSError, match="Input/output error"):
        load_checkpoint(tmp_path, "job")


def test_a_checkpoint_that_does_not_fit_into_memory_now_is_kept_for_later(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, TrainingProgress("job"), {})
    monkeypatch.setattr(torch, "load", lambda *_, **__: torch.empty(2**60, dtype=torch.uint8))
    with pytest.raises(MemoryError, match="allocate memory"):
        load_checkpoint(tmp_path, "job")


def test_objects_in_a_checkpoint_are_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit",))

    torch.save({"progress": Trap()}, tmp_path / FILE_NAME)
    assert load_checkpoint(tmp_path, "job") is None
