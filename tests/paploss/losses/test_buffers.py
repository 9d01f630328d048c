import pytest
import torch

from paploss.losses import ALRPLoss, ParameterizedAPLoss
from paploss.losses.buffers import Float64Buffers
from tests.paploss.losses.test_parameterized_ap import PUBLISHED


@pytest.fixture(
    params=[lambda: ParameterizedAPLoss(PUBLISHED), lambda: ALRPLoss(box_weight=1 / 3)], ids=["pap", "alrp"]
)
def loss(request: pytest.FixtureRequest) -> Float64Buffers:
    built: Float64Buffers = request.param()
    return built


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_model_of_another_precision_leaves_the_buffers_of_its_loss_whole(
    loss: Float64Buffers, dtype: torch.dtype
) -> None:
    before = dict(loss.named_buffers())
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), loss).to(dtype)
    assert next(model.parameters()).dtype == dtype
    assert list(before)
    for name, buffer in model[1].named_buffers():
        assert buffer.dtype == torch.float64
        assert torch.equal(buffer, before[name])


def test_the_buffers_follow_to_another_device_and_are_filled_from_a_state(loss: Float64Buffers) -> None:
    state = loss.state_dict()
    loss.to(device="meta", dtype=torch.float16)
    assert all(buffer.is_meta and buffer.dtype == torch.float64 for buffer in loss.buffers())
    loss.to_empty(device="cpu").load_state_dict(state)
    assert all(torch.equal(buffer, state[name]) for name, buffer in loss.named_buffers())
