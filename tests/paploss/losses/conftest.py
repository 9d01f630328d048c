"""A test that takes `device` runs on the CPU, and on a GPU where there is one; one that takes `gpu` on a GPU alone.

Both have the settings of a training there.
"""

from collections.abc import Iterator

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
def rounding(device: torch.device) -> dict[str, float]:
    """How far two equal sums may be apart, for `assert_close`: a GPU adds in varying order."""
    return dict.fromkeys(("rtol", "atol"), 0.0 if device == CPU else 1e-12)


def _as_in_training(device: torch.device) -> Iterator[torch.device]:
    set_up(device)
    yield device
    set_up(CPU)
