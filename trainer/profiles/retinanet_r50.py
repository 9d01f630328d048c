"""`retinanet-r50`: RetinaNet with ResNet-50 and FPN on the published schedules.

Source: Tao et al., "Searching Parameterized AP Loss for Object Detection", NeurIPS 2021, and its released program.
"""

from jobs.spec import JobSpec
from trainer.datasets.coco import CocoSplit
from trainer.profiles.pipelines import distort_crop_flip_and_pack, load_images, test_images
from trainer.profiles.recipe import Recipe, Schedule
from trainer.profiles.retinanet import RETINANET_HEADS, Size, retinanet

SIZE = Size(
    depth=50,
    base_channels=64,
    stage_channels=(256, 512, 1024, 2048),
    neck_channels=256,
    stacked_convs=4,
    strides=(8, 16, 32, 64, 128),
)
TRAIN_SIDE_PX = 512
TEST_SCALE_PX = (833, 500)
"""Bounds of the long and the short side in tests, for TRAIN_SIDE_PX."""
BATCH_SIZE = 64
LEARNING_RATE = 0.016
"""Peak rate at BATCH_SIZE; it is scaled with the batch."""


def retinanet_r50(spec: JobSpec, data: CocoSplit) -> Recipe:
    """The published proxy (1 epoch, constant rate) or final schedule (100 epochs, steps at 60 and 80).

    With pretrained weights the first stage is frozen and batch normalisation keeps its statistics; without them both
    learn, since random features that never change are of no use.
    """
    final = spec.schedule == "final"
    side = spec.overrides.image_size_px or TRAIN_SIDE_PX
    test_scale = tuple(round(bound * side / TRAIN_SIDE_PX) for bound in TEST_SCALE_PX)
    batch_size = spec.overrides.batch_size or BATCH_SIZE
    schedule = Schedule(
        epochs=spec.overrides.epochs or (100 if final else 1),
        batch_size=batch_size,
        learning_rate=spec.overrides.learning_rate or LEARNING_RATE * batch_size / BATCH_SIZE,
        optimizer="sgd",
        weight_decay=1e-4,
        warmup_iterations=500,
        warmup_factor=0.001,
        decay="steps" if final else "constant",
        milestones=(0.6, 0.8),
    )
    return Recipe(
        model=retinanet(
            SIZE,
            len(data.classes),
            spec.loss,
            frozen_backbone=spec.weights is not None,
            nms_iou=0.6 if final else 0.5,
        ),
        heads=RETINANET_HEADS,
        load_pipeline=load_images(),
        augment_pipeline=distort_crop_flip_and_pack(side),
        test_pipeline=test_images({"type": "Resize", "scale": test_scale, "keep_ratio": True}),
        schedule=schedule,
    )
