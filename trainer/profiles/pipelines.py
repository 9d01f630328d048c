"""Pieces of mmdet pipelines that the profiles share."""

from paploss.trainer.profiles.recipe import Config

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


def distort_crop_flip_and_pack(side_px: int) -> tuple[Config, ...]:
    """The published augmentation: colours, a larger canvas, a crop that keeps objects, a square, a mirror image."""
    return (
        {
            "type": "PhotoMetricDistortion",
            "brightness_delta": 32,
            "contrast_range": (0.5, 1.5),
            "saturation_range": (0.5, 1.5),
            "hue_delta": 18,
        },
        {"type": "Expand", "mean": NORMALISATION["mean"], "to_rgb": NORMALISATION["bgr_to_rgb"], "ratio_range": (1, 4)},
        {"type": "MinIoURandomCrop", "min_ious": (0.1, 0.3, 0.5, 0.7, 0.9), "min_crop_size": 0.3},
        {"type": "Resize", "scale": (side_px, side_px), "keep_ratio": False},
        *flip_and_pack(),
    )


def test_images(*transforms: Config) -> tuple[Config, ...]:
    """Decoding an image, `transforms`, and packing with what it takes to scale boxes back."""
    meta_keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    return ({"type": "LoadImageFromFile"}, *transforms, {"type": "PackDetInputs", "meta_keys": meta_keys})
