"""What the profiles with ResNet-50 and FPN share: the published proxy and final schedules, and their pipelines.

Source: Tao et al., "Searching Parameterized AP Loss for Object Detection", NeurIPS 2021, and its released program.
"""

from paploss.jobs.losses import Rate
from paploss.jobs.spec import JobSpec
from paploss.trainer.profiles.pipelines import distort_crop_flip_and_pack, load_images, test_images
from paploss.trainer.profiles.recipe import Config, Head, Recipe, Schedule

TRAIN_SIDE_PX = 512
TEST_SCALE_PX = (833, 500)
"""Bounds of the long and the short side in tests, for TRAIN_SIDE_PX."""


def published_recipe(
    spec: JobSpec, model: Config, heads: tuple[Head, ...], *, rate: Rate, milestones: tuple[float, ...]
) -> Recipe:
    """The published proxy (1 epoch, constant rate) or final schedule (100 epochs, steps).

    Args:
        spec: the job.
        model: mmdet's configuration of the detector.
        heads: the heads to watch.
        rate: of the job's loss on this detector; another batch size scales it.
        milestones: parts of the final schedule after which the rate falls to a tenth.
    """
    final = spec.schedule == "final"
    side = spec.overrides.image_size_px or TRAIN_SIDE_PX
    test_scale = tuple(round(bound * side / TRAIN_SIDE_PX) for bound in TEST_SCALE_PX)
    batch_size = spec.overrides.batch_size or rate.batch_size
    schedule = Schedule(
        epochs=spec.overrides.epochs or (100 if final else 1),
        batch_size=batch_size,
        learning_rate=spec.overrides.learning_rate or rate.peak * batch_size / rate.batch_size,
        optimizer="sgd",
        weight_decay=1e-4,
        warmup_iterations=500,
        warmup_factor=0.001,
        decay="steps" if final else "constant",
        milestones=milestones,
    )
    return Recipe(
        model=model,
        heads=heads,
        load_pipeline=load_images(),
        augment_pipeline=distort_crop_flip_and_pack(side),
        test_pipeline=test_images({"type": "Resize", "scale": test_scale, "keep_ratio": True}),
        schedule=schedule,
        one_image_size=True,
    )
