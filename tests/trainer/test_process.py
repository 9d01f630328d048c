import resource

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
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, most))
    set_up(CPU)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
