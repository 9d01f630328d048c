import subprocess
import sys

import torch

from paploss.trainer.process import set_up

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
