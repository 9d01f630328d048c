"""A small real data set, and jobs on it.

Trainings here are so small that threads would only wait for each other: this process and its children have one.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from paploss.jobs.presets import PRESETS
from paploss.jobs.spec import DatasetSpec, JobSpec, Overrides, Split
from paploss.trainer.attempt import AttemptContext
from paploss.trainer.datasets.digits import SIDE_PX, compose_scene
from paploss.trainer.events import AnyEvent

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

IMAGE_COUNTS = {"train": 12, "val": 6}


@pytest.fixture(scope="session")
def coco_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO folder in the usual layout: scenes of the digits 0 to 2; one crowd in the training part."""
    root = tmp_path_factory.mktemp("coco")
    source = load_digits()
    glyphs, labels = source.images[source.target < 3] / 16, source.target[source.target < 3]
    (root / "annotations").mkdir()
    for part, count in IMAGE_COUNTS.items():
        (root / f"{part}2017").mkdir()
        generator = np.random.default_rng(count)
        images, annotations = [], []
        for image_id in range(1, count + 1):
            scene, objects = compose_scene(generator, glyphs, labels)
            file_name = f"{image_id:012d}.png"
            cv2.imwrite(str(root / f"{part}2017" / file_name), scene)
            images.append({"id": image_id, "file_name": file_name, "width": SIDE_PX, "height": SIDE_PX})
            for label, box in objects:
                crowd = int(part == "train" and not annotations)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": label + 1,
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": crowd,
                    }
                )
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": label + 1, "name": f"digit {label}"} for label in range(3)],
        }
        (root / "annotations" / f"instances_{part}2017.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="session")
def coco_dataset(coco_root: Path) -> DatasetSpec:
    parts = {
        part: Split(annotations=f"annotations/instances_{part}2017.json", images=f"{part}2017") for part in IMAGE_COUNTS
    }
    return DatasetSpec(name="scenes", root=str(coco_root), **parts)


@pytest.fixture
def make_job(coco_dataset: DatasetSpec) -> Callable[..., JobSpec]:
    """A job of 6 steps on 64 px images, with what is given changed."""

    def make(**changes: Any) -> JobSpec:
        job: dict[str, Any] = {
            "trial_id": "trial-1",
            "profile": "retinanet-tiny",
            "dataset": coco_dataset,
            "loss": PRESETS["retinanet"],
            "overrides": Overrides(epochs=2, batch_size=4, image_size_px=64),
        }
        return JobSpec.model_validate({**job, **changes})

    return make


@pytest.fixture
def make_attempt(tmp_path: Path) -> Callable[..., tuple[AttemptContext, list[AnyEvent]]]:
    """An attempt with its own state folder, and the list that collects its events."""

    def make(folder: str = "state", **changes: Any) -> tuple[AttemptContext, list[AnyEvent]]:
        state = tmp_path / folder
        state.mkdir(exist_ok=True)
        events: list[AnyEvent] = []
        attempt: dict[str, Any] = {
            "state": state,
            "cache": tmp_path / "cache",
            "emit": events.append,
            "stop_requested": lambda: False,
        }
        return AttemptContext(**{**attempt, **changes}), events

    return make
