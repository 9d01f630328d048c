import pytest
import torch
from torch import nn

from paploss.trainer.errors import UserError
from paploss.trainer.weights import load_backbone, read_state_dict


@pytest.fixture
def detector() -> nn.Module:
    detector = nn.Module()
    detector.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return detector


@pytest.mark.parametrize("prefix", ["", "backbone."])
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_loads_the_backbone_and_drops_the_classifier(detector, tmp_path, prefix, key):
    state = {
        f"{prefix}{name}": torch.randn_like(value)
        for name, value in detector.backbone.state_dict().items()
        if value.ndim
    }
    content = {**state, "fc.weight": torch.zeros(2)}
    torch.save(content if key is None else {key: content}, tmp_path / "weights.pth")
    load_backbone(detector, tmp_path / "weights.pth")
    assert torch.equal(detector.backbone[0].weight, state[f"{prefix}0.weight"])


def test_weights_of_another_backbone_are_refused(detector, tmp_path):
    file = tmp_path / "weights.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, file)
    with pytest.raises(UserError, match=r"weights\.pth: has no '0\.weight'"):
        load_backbone(detector, file)
    torch.save({**detector.backbone.state_dict(), "0.bias": torch.zeros(9)}, file)
    with pytest.raises(UserError, match=r"0\.bias: expected shape \[4\], got \[9\]"):
        load_backbone(detector, file)


def test_missing_files_and_objects_are_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_state_dict(tmp_path / "none.pth")
    torch.save(nn.Linear(2, 2), tmp_path / "object.pth")
    with pytest.raises(UserError, match="not a plain state dict"):
        read_state_dict(tmp_path / "object.pth")
    for content in ({"weight": 3}, {0: torch.zeros(2)}):
        torch.save(content, tmp_path / "number.pth")
        with pytest.raises(UserError, match="expected a state dict of tensors"):
            read_state_dict(tmp_path / "number.pth")
