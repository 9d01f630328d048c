"""`retinanet-tiny`: a RetinaNet that learns a few hundred small images in a minute on two CPU cores."""

from jobs.spec import JobSpec
from trainer.datasets.coco import CocoSplit
from trainer.profiles.losses import retina_losses
from trainer.profiles.pipelines import NORMALISATION, flip_and_pack, load_images, test_images
from trainer.profiles.recipe import Head, Recipe, Schedule

SHORT_SIDE_PX = 192
BASE_CHANNELS = 16
NECK_CHANNELS = 32
STRIDES = (8, 16, 32, 64)
EPOCHS = {"proxy": 4, "final": 24}
BATCH_SIZE, LEARNING_RATE = 8, 1e-3
DIGITS_BATCH_SIZE, DIGITS_LEARNING_RATE = 4, 2e-3
"""The embedded scenes are easy: small, quick steps learn them in fewer seconds."""


def retinanet_tiny(spec: JobSpec, data: CocoSplit) -> Recipe:
    """ResNet-18 with 16 base channels from random weights, FPN of 32 channels, one convolution in each branch."""
    # Small images are not enlarged: the embedded scenes stay as they are.
    largest = max(min(image["width"], image["height"]) for image in data.images)
    short_side = spec.overrides.image_size_px or min(SHORT_SIDE_PX, largest)
    # The long side is bounded far away: only the short one decides.
    resize = {"type": "Resize", "scale": (8 * short_side, short_side), "keep_ratio": True}
    model = {
        "type": "RetinaNet",
        "data_preprocessor": {**NORMALISATION, "pad_size_divisor": 32},
        "backbone": {
            "type": "ResNet",
            "depth": 18,
            "base_channels": BASE_CHANNELS,
            "num_stages": 4,
            "out_indices": (0, 1, 2, 3),
            "norm_cfg": {"type": "BN", "requires_grad": True},
            "norm_eval": False,
            "style": "pytorch",
        },
        "neck": {
            "type": "FPN",
            "in_channels": [BASE_CHANNELS * 2**stage for stage in range(4)],
            "out_channels": NECK_CHANNELS,
            "start_level": 1,
            "add_extra_convs": "on_input",
            "num_outs": len(STRIDES),
        },
        "bbox_head": {
            "num_classes": len(data.classes),
            "in_channels": NECK_CHANNELS,
            "feat_channels": NECK_CHANNELS,
            "stacked_convs": 1,
            "anchor_generator": {
                "type": "AnchorGenerator",
                "octave_base_scale": 4,
                "scales_per_octave": 2,
                "ratios": [0.5, 1.0, 2.0],
                "strides": list(STRIDES),
            },
            **retina_losses(spec.loss, "bbox_head"),
        },
        "train_cfg": {
            "assigner": {
                "type": "MaxIoUAssigner",
                "pos_iou_thr": 0.5,
                "neg_iou_thr": 0.4,
                "min_pos_iou": 0,
                "ignore_iof_thr": 0.5,
            },
            "sampler": {"type": "PseudoSampler"},
            "allowed_border": -1,
            "pos_weight": -1,
            "debug": False,
        },
        "test_cfg": {
            "nms_pre": 1000,
            "min_bbox_size": 0,
            "score_thr": 0.05,
            "nms": {"type": "nms", "iou_threshold": 0.5},
            "max_per_img": 100,
        },
    }
    schedule = Schedule(
        epochs=spec.overrides.epochs or EPOCHS[spec.schedule],
        batch_size=spec.overrides.batch_size or (BATCH_SIZE if spec.dataset.root else DIGITS_BATCH_SIZE),
        learning_rate=spec.overrides.learning_rate or (LEARNING_RATE if spec.dataset.root else DIGITS_LEARNING_RATE),
        optimizer="adamw",
        weight_decay=1e-4,
        warmup_iterations=50,
        warmup_factor=0.001,
        decay="cosine",
        clip_norm=10.0,
    )
    return Recipe(
        model=model,
        heads=(Head("bbox_head", "bbox_head", "loss_"),),
        load_pipeline=load_images(resize),
        augment_pipeline=flip_and_pack(),
        test_pipeline=test_images(resize),
        schedule=schedule,
        cache_loaded=True,
    )
