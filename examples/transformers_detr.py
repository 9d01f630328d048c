"""A found loss in Hugging Face transformers: a DETR built from a configuration, on drawn squares.

    paploss export ID --for transformers --output loss.py
    pip install transformers scipy
    python examples/transformers_detr.py loss.py [deformable_detr | rt_detr | d_fine]

Nothing is downloaded.
"""

import runpy
import sys
from pathlib import Path

import torch
import transformers
from torch import Tensor

SIDE_PX = 64
BACKBONE = {"embedding_size": 16, "hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1], "layer_type": "basic"}
STAGES = ["stage2", "stage3", "stage4"]
QUERIES = {"num_labels": 2, "num_queries": 20, "d_model": 32, "decoder_layers": 2, "auxiliary_loss": True}
HYBRID = {
    "encoder_hidden_dim": 32,
    "encoder_in_channels": [32, 32, 64],
    "encoder_ffn_dim": 64,
    "encoder_attention_heads": 4,
    "feat_strides": [8, 16, 32],
    "decoder_in_channels": [32, 32, 32],
    "decoder_ffn_dim": 64,
    "decoder_attention_heads": 4,
}


def small_model(kind: str) -> torch.nn.Module:
    """A detector of two classes with random weights."""
    if kind == "deformable_detr":
        config = transformers.DeformableDetrConfig(
            use_timm_backbone=False,
            use_pretrained_backbone=False,
            backbone=None,
            backbone_config=transformers.ResNetConfig(**BACKBONE, out_features=STAGES),
            encoder_layers=1,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            num_feature_levels=3,
            with_box_refine=True,
            dropout=0.0,
            **QUERIES,
        )
        return transformers.DeformableDetrForObjectDetection(config)
    backbone = transformers.RTDetrResNetConfig(**BACKBONE, out_features=STAGES)
    if kind == "rt_detr":
        config = transformers.RTDetrConfig(backbone_config=backbone, num_denoising=10, **HYBRID, **QUERIES)
        return transformers.RTDetrForObjectDetection(config)
    if kind == "d_fine":
        config = transformers.DFineConfig(backbone_config=backbone, num_denoising=10, **HYBRID, **QUERIES)
        return transformers.DFineForObjectDetection(config)
    raise ValueError(f"kind: expected deformable_detr, rt_detr or d_fine, got {kind!r}")


def scenes(count: int, seed: int) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Images `[count, 3, SIDE_PX, SIDE_PX]` with a red or a green square each, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.1 * torch.randn(count, 3, SIDE_PX, SIDE_PX, generator=generator)
    labels = []
    for image in images:
        side = int(torch.randint(16, 32, (), generator=generator))
        x, y = torch.randint(0, SIDE_PX - side, (2,), generator=generator).tolist()
        kind = int(torch.randint(2, (), generator=generator))
        image[kind, y : y + side, x : x + side] += 1
        box = torch.tensor([[x + side / 2, y + side / 2, side, side]]) / SIDE_PX
        labels.append({"class_labels": torch.tensor([kind]), "boxes": box})
    return images, labels


def train(exported: Path, kind: str, steps: int) -> list[float]:
    """Losses of the steps; `exported`: the file that the export wrote."""
    torch.manual_seed(0)
    model = small_model(kind)
    model.loss_function = runpy.run_path(str(exported))["ranking_loss"]()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for step in range(steps):
        images, labels = scenes(8, step)
        value = model(pixel_values=images, labels=labels).loss
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(value.item())
    return losses


if __name__ == "__main__":
    found = train(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "deformable_detr", steps=100)
    for first in range(0, len(found), 20):
        print(f"steps {first} to {first + 19}: loss {sum(found[first : first + 20]) / 20:.3f}")
