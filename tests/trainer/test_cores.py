import pytest

from paploss.trainer.cores import available_cores


@pytest.mark.parametrize(
    ("limit", "cores"), [("max 100000", 4), ("200000 100000", 2), ("50000 100000", 1), ("900000 100000", 4), (None, 4)]
)
def test_a_container_has_the_cores_of_its_quota(tmp_path, monkeypatch, limit, cores):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))
    if limit is not None:
        (tmp_path / "cpu.max").write_text(limit + "\n")
    assert available_cores(tmp_path) == cores
