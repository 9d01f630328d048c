"""The backbone that the detectors share."""

from paploss.trainer.profiles.recipe import Config


def resnet(depth: int, base_channels: int, frozen: bool) -> Config:
    """mmdet's configuration of a ResNet that gives the outputs of all four stages, at strides 4, 8, 16 and 32.

    Args:
        depth: 18, 34, 50, 101 or 152.
        base_channels: of the first stage, before a bottleneck's expansion by 4.
        frozen: keep the first stage and the batch-normalisation statistics of pretrained weights.
    """
    return {
        "type": "ResNet",
        "depth": depth,
        "base_channels": base_channels,
        "out_indices": (0, 1, 2, 3),
        "frozen_stages": 1 if frozen else -1,
        "norm_cfg": {"type": "BN", "requires_grad": True},
        "norm_eval": frozen,
        "style": "pytorch",
    }
