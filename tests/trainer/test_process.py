import subprocess
import sys

import pytest
import torch

from paploss.trainer.process import available_cores, set_up

CPU = torch.device("cpu")


def test_on_the_cpu_trainings_are_deterministic():
    set_up(CPU)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.get_float32_matmul_precision() == "highest"


def test_on_a_gpu_they_are_fast_also_after_one_on_the_cpu():
    set_up(CPU)
    set_up(torch.device("cuda"))
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_float32_matmul_precision() == "high"
    set_up(CPU)


def test_as_many_files_may_be_open_as_the_system_allows():
    program = (
        "import resource, torch, paploss.trainer.process as p;"
        "most = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, most));"
        "p.set_up(torch.device('cpu'));"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE), most)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    soft, hard, most = map(int, done.stdout.split())
    assert soft == hard == most


@pytest.mark.parametrize(
    ("limit", "cores"), [("max 100000", 4), ("200000 100000", 2), ("50000 100000", 1), ("900000 100000", 4), (None, 4)]
)
def test_a_container_has_the_cores_of_its_quota(tmp_path, monkeypatch, limit, cores):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))
    if limit is not None:
        (tmp_path / "cpu.max").write_text(limit + "\n")
    assert available_cores(tmp_path) == cores
