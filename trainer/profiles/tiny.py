"""What the tiny profiles share: a few hundred small images on CPU cores, in a minute or two."""

from paploss.jobs.losses import Rate
from paploss.jobs.spec import JobSpec
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.profiles.pipelines import flip_and_pack, load_images, test_images
from paploss.trainer.profiles.recipe import Config, Head, Recipe, Schedule

SHORT_SIDE_PX = 192
EPOCHS = {"proxy": 4, "final": 24}
"""4 epochs are the shortest length that ranks losses as 24 do (`benchmarks/ranks.py`)."""
RATE, TWO_STAGE_RATE = Rate(8e-3, 8), Rate(4e-3, 4)
"""On photographs, where the losses together lose least to their own best rates (`benchmarks/rates.py`)."""
SCENES_RATE = Rate(2e-3, 4)
"""The embedded scenes are easy: small, quick steps learn them in fewer seconds."""


def tiny_recipe(spec: JobSpec, data: CocoSplit, model: Config, heads: tuple[Head, ...], rate: Rate = RATE) -> Recipe:
    """The recipe of a small detector: images of SHORT_SIDE_PX, kept in memory, mirrored at random; AdamW and a cosine.

    Args:
        spec: the job.
        data: its training images.
        model: mmdet's configuration of the detector.
        heads: the heads to watch.
        rate: on any data but the embedded scenes, which take SCENES_RATE. It is not scaled with the batch.
    """
    # Small images are not enlarged: the embedded scenes stay as they are.
    largest = max(min(image["width"], image["height"]) for image in data.images)
    short_side = spec.overrides.image_size_px or min(SHORT_SIDE_PX, largest)
    # The long side is bounded far away: only the short one decides.
    resize = {"type": "Resize", "scale": (8 * short_side, short_side), "keep_ratio": True}
    if not spec.dataset.root:
        rate = SCENES_RATE
    schedule = Schedule(
        epochs=spec.overrides.epochs or EPOCHS[spec.schedule],
        batch_size=spec.overrides.batch_size or rate.batch_size,
        learning_rate=spec.overrides.learning_rate or rate.peak,
        optimizer="adamw",
        weight_decay=1e-4,
        warmup_iterations=50,
        warmup_factor=0.001,
        decay="cosine",
        clip_norm=10.0,
    )
    return Recipe(
        model=model,
        heads=heads,
        load_pipeline=load_images(resize),
        augment_pipeline=flip_and_pack(),
        test_pipeline=test_images(resize),
        schedule=schedule,
        cache_loaded=True,
    )
