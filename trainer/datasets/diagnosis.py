"""Checking a data set on its own, without a job: in any layout that is known, or as a specification describes it."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from paploss.jobs.dataset_report import DatasetReport
from paploss.jobs.losses import APL1
from paploss.jobs.metrics import Reward
from paploss.jobs.spec import DatasetSpec, JobSpec, Overrides
from paploss.trainer.datasets.check import FactsBySplit, check_reward, check_splits
from paploss.trainer.datasets.coco import CocoSplit, checked_split, read_json
from paploss.trainer.datasets.digits import embedded_digits
from paploss.trainer.datasets.findings import Findings
from paploss.trainer.datasets.layouts.coco_folders import CocoPart, find_coco, find_image_folder
from paploss.trainer.datasets.layouts.labelled import LabelledSet
from paploss.trainer.datasets.layouts.recognition import READERS, recognise
from paploss.trainer.datasets.layouts.writing import as_coco
from paploss.trainer.datasets.report import make_report
from paploss.trainer.datasets.sources import read_splits, with_classes_of_train
from paploss.trainer.datasets.visibility import Visibility
from paploss.trainer.errors import UserError
from paploss.trainer.profiles import recipe_of
from paploss.trainer.profiles.smallest_object import visibility_of

Part = TypeVar("Part")


@dataclass(frozen=True)
class Diagnosis:
    """A report, and what it is about."""

    report: DatasetReport
    splits: dict[str, CocoSplit]
    facts: FactsBySplit


@dataclass(frozen=True)
class Detector:
    """What objects have to be large enough for."""

    profile: str
    image_size_px: int | None = None
    """In place of the profile's."""


def diagnose(
    target: Path | DatasetSpec,
    *,
    detector: Detector | None = None,
    reward: Reward = "AP",
    cache: Path | None = None,
    files: bool = True,
) -> Diagnosis:
    """Checks everything of a data set. What is wrong with it is in the report, not raised.

    Args:
        target: a folder, a COCO file, or what a specification says.
        detector: says which objects are too small.
        reward: has to be measurable on every split that is not trained on.
        cache: folder for the embedded data set and for what was read of images; None as that of an attempt.
        files: read the images.

    Raises:
        UserError: there is no such file or folder, or no such profile.
    """
    if isinstance(target, Path) and not target.exists():
        raise UserError(f"{target}: no such file or folder")
    findings = Findings()
    name = str(target) if isinstance(target, Path) else f"{target.name} {target.root}".strip()
    layout, visibility = "COCO", None
    splits: dict[str, CocoSplit] = {}
    facts: FactsBySplit = {}
    try:
        layout, splits = _read(target, findings, cache)
    except UserError as error:
        findings.error("", str(error))
    else:
        visibility = _visibility(detector, splits) if detector and splits["train"].images else None
        facts = check_splits(splits, findings, cache=cache, files=files, visibility=visibility)
        for split in list(splits.values())[1:]:
            check_reward(split, reward, findings)
    report = make_report(name, layout, splits, facts, findings=findings, visibility=visibility)
    return Diagnosis(report, splits, facts)


def _read(target: Path | DatasetSpec, findings: Findings, cache: Path | None) -> tuple[str, dict[str, CocoSplit]]:
    """The layout, and the splits by name; the first is `train`."""
    if isinstance(target, DatasetSpec):
        if not target.root:
            target = embedded_digits(cache)
        names = ("train", "val", "test") if _can_test(target, findings) else ("train", "val")
        return "COCO", read_splits(target, names, findings)
    if target.is_file():
        # Images of `annotations/instances_train2017.json` are beside `annotations`.
        root = target.absolute().parent
        root = root.parent if root.name == "annotations" else root
        folder = find_image_folder(root, target, read_json(target)["images"], target.stem)
        parts = {"train": CocoPart(target, folder)}
    else:
        layout = recognise(target)
        if layout != "coco":
            data = READERS[layout](target, cache)
            for note in data.notes:
                findings.warning(target, note)
            splits = _first_as_train(_splits_of(data, target, findings))
            return data.layout, with_classes_of_train(splits, findings)
        parts = _first_as_train(find_coco(target))
    splits = {
        name: checked_split(read_json(part.annotation_file), part.annotation_file, part.image_folder, findings)
        for name, part in parts.items()
    }
    return "COCO", with_classes_of_train(splits, findings)


def _first_as_train(parts: dict[str, Part]) -> dict[str, Part]:
    """A test set by itself, for instance, is checked like one to train on."""
    first = "train" if "train" in parts else next(iter(parts))
    return {"train": parts[first], **{name: part for name, part in parts.items() if name != first}}


def _can_test(dataset: DatasetSpec, findings: Findings) -> bool:
    """Whether there is a test split; one that cannot be read stops no search."""
    if dataset.test is None:
        return False
    try:
        read_json(Path(dataset.root) / dataset.test.annotations)
    except UserError as error:
        findings.warning("", f"{error}; searches do without the test split")
        return False
    return True


def _splits_of(data: LabelledSet, folder: Path, findings: Findings) -> dict[str, CocoSplit]:
    """The parts of a data set in another layout as what they would be in COCO's."""
    images = Path(os.path.commonpath([image.file.absolute().parent for image in data.images()]))
    names = {image.file: image.file.absolute().relative_to(images).as_posix() for image in data.images()}
    return {
        name: checked_split(as_coco(part, data.classes, names), folder / name, images, findings)
        for name, part in data.parts.items()
    }


def _visibility(detector: Detector, splits: dict[str, CocoSplit]) -> Visibility:
    # Any loss that fits every profile does.
    job = JobSpec(
        trial_id="check",
        profile=detector.profile,
        loss=APL1(),
        overrides=Overrides(image_size_px=detector.image_size_px),
        dataset=DatasetSpec(),
    )
    train = splits["train"]
    if not train.classes:
        train = replace(train, categories=({"id": 1, "name": ""},))
    return visibility_of(detector.profile, recipe_of(job, train))
