"""A found loss in torchvision's RetinaNet, with random weights, on drawn squares.

paploss export ID --for torchvision --output loss.py
pip install torchvision
python examples/torchvision_retinanet.py loss.py
"""

import runpy
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

SIDE_PX, CHANNELS, CLASSES = 64, 32, 2


class Backbone(nn.Sequential):
    """Features at a stride of 8 px."""

    out_channels = CHANNELS

    def __init__(self) -> None:
        layers = []
        for inputs, outputs in ((3, 16), (16, 32), (32, CHANNELS)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*layers)


def small_model(exported: Path) -> RetinaNet:
    """A RetinaNet of two classes whose head has the loss of the exported file."""
    anchors = AnchorGenerator(sizes=((16, 24),), aspect_ratios=((1.0,),))
    head_type = runpy.run_path(str(exported))["RankingRetinaNetHead"]
    head = head_type(CHANNELS, anchors.num_anchors_per_location()[0], CLASSES)
    return RetinaNet(
        Backbone(), CLASSES, anchor_generator=anchors, head=head, min_size=SIDE_PX, max_size=SIDE_PX, score_thresh=0.01
    )


def scenes(count: int, seed: int) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Images `[3, SIDE_PX, SIDE_PX]` with a red or a green square each, and their targets."""
    generator = torch.Generator().manual_seed(seed)
    images = list(0.1 * torch.randn(count, 3, SIDE_PX, SIDE_PX, generator=generator))
    targets = []
    for image in images:
        side = int(torch.randint(16, 28, (), generator=generator))
        x, y = torch.randint(0, SIDE_PX - side, (2,), generator=generator).tolist()
        kind = int(torch.randint(CLASSES, (), generator=generator))
        image[kind, y : y + side, x : x + side] += 1
        box = torch.tensor([[x, y, x + side, y + side]], dtype=torch.float32)
        targets.append({"boxes": box, "labels": torch.tensor([kind])})
    return images, targets


def train(exported: Path, steps: int) -> list[float]:
    """Losses of the steps."""
    torch.manual_seed(0)
    model = small_model(exported)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for step in range(steps):
        value = sum(model(*scenes(8, step)).values())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


if __name__ == "__main__":
    found = train(Path(sys.argv[1]), steps=100)
    for first in range(0, len(found), 20):
        print(f"steps {first} to {first + 19}: loss {sum(found[first : first + 20]) / 20:.3f}")
