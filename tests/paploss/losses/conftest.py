"""A test that takes `device` runs on the CPU, and on a GPU where there is one; one that takes `gpu` on a GPU alone.

Both have the settings of a training there.
"""

import warnings
from collections.abc import Callable, Iterator

import pytest
import torch

from paploss.trainer.process import set_up

CPU, GPU = torch.device("cpu"), torch.device("cuda")
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture(params=[CPU, pytest.param(GPU, marks=NEEDS_GPU)], ids=lambda device: device.type)
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    yield from _as_in_training(request.param)


@pytest.fixture(params=[pytest.param(GPU, marks=NEEDS_GPU)], ids=lambda device: device.type)
def gpu(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    yield from _as_in_training(request.param)


@pytest.fixture
def count_waits(gpu: torch.device) -> Callable[[Callable[[], object]], int]:
    """How often a computation waits for the GPU."""

    def count(computation: Callable[[], object]) -> int:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                computation()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("called a synchronizing" in str(warning.message) for warning in caught)

    return count


def _as_in_training(device: torch.device) -> Iterator[torch.device]:
    set_up(device)
    yield device
    set_up(CPU)
