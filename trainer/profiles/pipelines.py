"""Pieces of mmdet pipelines that the profiles share."""

from trainer.profiles.recipe import Config

NORMALISATION: Config = {
    "type": "DetDataPreprocessor",
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "bgr_to_rgb": True,
}
"""ImageNet's mean and standard deviation, RGB, of 255."""


def load_images(*transforms: Config) -> tuple[Config, ...]:
    """Decoding an image and its boxes, then `transforms`."""
    return ({"type": "LoadImageFromFile"}, {"type": "LoadAnnotations", "with_bbox": True}, *transforms)


def flip_and_pack() -> tuple[Config, ...]:
    """A mirror image half of the time, and mmdet's packing."""
    return ({"type": "RandomFlip", "prob": 0.5}, {"type": "PackDetInputs"})


def test_images(*transforms: Config) -> tuple[Config, ...]:
    """Decoding an image, `transforms`, and packing with what it takes to scale boxes back."""
    meta_keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    return ({"type": "LoadImageFromFile"}, *transforms, {"type": "PackDetInputs", "meta_keys": meta_keys})
