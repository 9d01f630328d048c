"""A found loss in mmdet's own RetinaNet, without this project, with random weights, on drawn squares.

    paploss export ID --for mmdet --output found_loss.py
    python examples/mmdet_retinanet.py found_loss.py

A configuration for mmdet's tools names the file in `custom_imports` and the head's type, as the file says.
"""

import runpy
import sys
from pathlib import Path
from typing import Any

import mmdet.models  # noqa: F401 - registers the detectors
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor

SIDE_PX, CHANNELS, CLASSES = 64, 32, 2
MODEL: dict[str, Any] = {
    "type": "RetinaNet",
    "data_preprocessor": {"type": "DetDataPreprocessor"},
    "backbone": {
        "type": "ResNet",
        "depth": 18,
        "base_channels": 16,
        "norm_cfg": {"type": "BN"},
        "out_indices": (1, 2),
    },
    "neck": {"type": "FPN", "in_channels": [32, 64], "out_channels": CHANNELS, "num_outs": 2},
    "bbox_head": {
        "type": "ParameterizedAPRetinaHead",
        "num_classes": CLASSES,
        "in_channels": CHANNELS,
        "feat_channels": CHANNELS,
        "stacked_convs": 1,
        "anchor_generator": {"type": "AnchorGenerator", "scales": [2], "ratios": [1.0], "strides": [8, 16]},
        "bbox_coder": {"type": "DeltaXYWHBBoxCoder", "target_stds": [0.1, 0.1, 0.2, 0.2]},
    },
    "train_cfg": {
        "assigner": {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.4, "min_pos_iou": 0},
        "sampler": {"type": "PseudoSampler"},
        "allowed_border": -1,
        "pos_weight": -1,
        "debug": False,
    },
}


def scenes(count: int, seed: int) -> tuple[Tensor, list[DetDataSample]]:
    """Images `[count, 3, SIDE_PX, SIDE_PX]` with a red or a green square each, and what is in them."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.1 * torch.randn(count, 3, SIDE_PX, SIDE_PX, generator=generator)
    samples = []
    for image in images:
        side = int(torch.randint(16, 32, (), generator=generator))
        x, y = torch.randint(0, SIDE_PX - side, (2,), generator=generator).tolist()
        kind = int(torch.randint(CLASSES, (), generator=generator))
        image[kind, y : y + side, x : x + side] += 1
        box = torch.tensor([[x, y, x + side, y + side]], dtype=torch.float32)
        sides = {"img_shape": (SIDE_PX, SIDE_PX), "pad_shape": (SIDE_PX, SIDE_PX)}
        truth = InstanceData(bboxes=box, labels=torch.tensor([kind]))
        samples.append(DetDataSample(metainfo=sides, gt_instances=truth))
    return images, samples


def train(exported: Path, steps: int) -> list[float]:
    """Losses of the steps; `exported`: the file that the export wrote."""
    runpy.run_path(str(exported))  # registers the head, as `custom_imports` does
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(MODEL))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for step in range(steps):
        value = model(*scenes(8, step), mode="loss")["loss_rank"]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


if __name__ == "__main__":
    found = train(Path(sys.argv[1]), steps=100)
    for first in range(0, len(found), 20):
        print(f"steps {first} to {first + 19}: loss {sum(found[first : first + 20]) / 20:.3f}")
