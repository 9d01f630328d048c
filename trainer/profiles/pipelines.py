"""Pieces of mmdet pipelines that the profiles share."""

from collections.abc import Sequence

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


def resize_crop_flip_and_pack(short_sides_px: Sequence[int], long_side_px: int) -> tuple[Config, ...]:
    """The augmentation published with DETRs: a mirror image, and one of some sizes, half of the time of a crop.

    Args:
        short_sides_px: the sizes, ascending.
        long_side_px: no image is longer.
    """
    resize = {
        "type": "RandomChoiceResize",
        "scales": [(side, long_side_px) for side in short_sides_px],
        "keep_ratio": True,
    }
    smallest, largest = short_sides_px[0], short_sides_px[-1]
    before_crop = [round(largest * part) for part in (0.5, 0.625, 0.75)]
    crop = {
        "type": "RandomCrop",
        "crop_type": "absolute_range",
        "crop_size": (round(0.8 * smallest), before_crop[-1]),
        "allow_negative_crop": True,
    }
    # The long side is bounded far away before a crop: only the short one decides.
    enlarge = {**resize, "scales": [(side, 7 * before_crop[-1]) for side in before_crop]}
    return (
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "RandomChoice", "transforms": [[resize], [enlarge, crop, resize]]},
        {"type": "PackDetInputs"},
    )


def test_images(*transforms: Config) -> tuple[Config, ...]:
    """Decoding an image, `transforms`, and packing with what it takes to scale boxes back."""
    meta_keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    return ({"type": "LoadImageFromFile"}, *transforms, {"type": "PackDetInputs", "meta_keys": meta_keys})
