"""Checking whole data sets before anything is trained on them: files, classes, and splits beside each other."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from paploss.jobs.metrics import Metrics, Reward, UndefinedMetricError, measure
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.datasets.findings import MOST_EXAMPLES, Findings
from paploss.trainer.datasets.image_files import ImageFacts, find_similar, read_images
from paploss.trainer.datasets.visibility import Visibility

DARK = 2**14
"""16-bit images whose largest values are below this leave three quarters of the grey values of 8 bits unused."""

MEDIUM_AREA, LARGE_AREA, MOST_AREA = 32.0**2, 96.0**2, 1e10
"""Where medium and large objects begin in COCO's evaluation, and above what none counts, px^2; both bounds belong to
both sizes."""

FactsBySplit = Mapping[str, Sequence[ImageFacts]]


def check_splits(
    splits: Mapping[str, CocoSplit],
    findings: Findings,
    *,
    cache: Path | None,
    files: bool = True,
    visibility: Visibility | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> FactsBySplit:
    """Checks splits that have been read, each by itself and beside the others.

    Args:
        splits: by name; the first is the one to train on.
        findings: takes errors and warnings.
        cache: where to keep what was read of images.
        files: read every image; without it only what the annotation files say is checked.
        visibility: of objects to a detector, if there is one.
        on_image: called after each image that was read; it may raise to leave.

    Returns:
        The facts of each split's images in its order; none without `files`.
    """
    facts = {name: check_files(split, cache, findings, on_image) for name, split in splits.items()} if files else {}
    _check_depths(facts, splits, findings)
    _check_leaks(facts, splits, findings)
    _check_classes(splits, findings)
    if visibility is not None:
        for split in splits.values():
            for image in split.images:
                if visibility.shrinks_to_nothing(image["width"], image["height"]):
                    findings.error(
                        split.annotation_file,
                        f"{{count}} images are too long and thin for {visibility.profile}",
                        f"{image['file_name']}: {image['width']} x {image['height']} px, of which less than half a "
                        "pixel is left of the short side",
                    )
            unseen, count = visibility.count_unseen(split), sum(not one["iscrowd"] for one in split.annotations)
            if 10 * unseen > count:
                findings.warning(
                    split.annotation_file,
                    f"{unseen} of {count} objects are {visibility.limit}: it may not see them",
                )
    return facts


def check_files(
    split: CocoSplit, cache: Path | None, findings: Findings, on_image: Callable[[], None] = lambda: None
) -> list[ImageFacts]:
    """Reads every image of a split: each has to decode, and to have the size that the annotation file says."""
    facts = read_images(split.image_folder, [image["file_name"] for image in split.images], cache, on_image)
    file, folder = split.annotation_file, split.image_folder
    problems = 0
    for image, known in zip(split.images, facts, strict=True):
        name = image["file_name"]
        if known.problem:
            problems += 1
            similar = find_similar(folder / name) if problems <= MOST_EXAMPLES and not known.format else None
            hint = f" ({similar} is)" if similar and known.problem == "it is not there" else ""
            message = f"{folder / name}: cannot be read as an image: {known.problem}{hint}"
            findings.error_once(f"{{count}} images in {folder} cannot be used", message)
            continue
        if (image["width"], image["height"]) != (known.width, known.height):
            turned = f", turned by its EXIF orientation {known.orientation}" if known.orientation > 1 else ""
            findings.error(
                file,
                f"{{count}} of {len(facts)} images in {folder} have another size than the annotations say",
                f"{name}: {image['width']} x {image['height']} px in the annotations, "
                f"{known.width} x {known.height} px in the image{turned}",
            )
        elif known.orientation in (2, 3, 4) or (known.orientation > 4 and known.width == known.height):
            findings.warning(
                file, "{count} images are turned by their EXIF orientation: boxes have to fit them then", name
            )
        if known.animated:
            findings.warning(file, "{count} files hold several pictures, of which the first is used", name)
        if known.has_alpha:
            findings.warning(file, "{count} images have transparency, which is ignored", name)
    return facts


def check_objects(split: CocoSplit, findings: Findings) -> None:
    """Without an object that is not a crowd there is nothing to learn, and no AP."""
    if not any(annotation["iscrowd"] == 0 for annotation in split.annotations):
        reason = f": all {len(split.annotations)} are crowds" if split.annotations else ", there is none"
        findings.error(split.annotation_file, f"expected at least one object that is not a crowd{reason}")


def check_reward(split: CocoSplit, reward: Reward, findings: Findings) -> None:
    """A reward needs objects to be measured on: of its classes and sizes."""
    try:
        measure(reward, _measurable(split))
    except UndefinedMetricError as error:
        findings.error(split.annotation_file, f"reward: {error}")


def _measurable(split: CocoSplit) -> Metrics:
    """COCO's metrics of a detector that finds nothing: 0, and -1 where no object counts."""
    labels = split.labels
    areas: list[list[float]] = [[] for _ in split.categories]
    for one in split.annotations:
        if not one["iscrowd"]:
            areas[labels[one["category_id"]]].append(one["area"])
    every = [area for of_class in areas for area in of_class]

    def look(found: Sequence[float], low: float = 0.0, high: float = MOST_AREA) -> float:
        return 0.0 if any(low <= area <= high for area in found) else -1.0

    return Metrics(
        ap=look(every),
        ap50=look(every),
        ap75=look(every),
        ap_small=look(every, high=MEDIUM_AREA),
        ap_medium=look(every, MEDIUM_AREA, LARGE_AREA),
        ap_large=look(every, LARGE_AREA),
        per_class={key: look(of_class) for key, of_class in zip(split.class_keys, areas, strict=True)},
    )


def match_categories(split: CocoSplit, train: CocoSplit, findings: Findings) -> None:
    """A split may list fewer categories than the training split, and more only where no object has them."""
    known = {category["id"]: category["name"] for category in train.categories}
    used = Counter(annotation["category_id"] for annotation in split.annotations)
    for category in split.categories:
        key, name = category["id"], category["name"]
        if key not in known:
            sentence = f"categories differ from those of {train.annotation_file}"
            if used[key]:
                findings.error(
                    split.annotation_file, sentence, f"{sentence}: category {key!r} {name!r} is not among them"
                )
            else:
                findings.warning(split.annotation_file, "{count} categories without objects are not trained", name)
        elif known[key] != name:
            sentence = f"categories differ from those of {train.annotation_file}"
            message = f"{sentence}: category {key!r} is {name!r} here and {known[key]!r} there"
            findings.error(split.annotation_file, sentence, message)
    missing = [
        category for category in train.categories if category["id"] not in {one["id"] for one in split.categories}
    ]
    for category in missing:
        findings.warning(
            split.annotation_file, "{count} categories of the training split are not listed", category["name"]
        )


def _check_depths(facts: FactsBySplit, splits: Mapping[str, CocoSplit], findings: Findings) -> None:
    """Refuses 16-bit images that use fewer bits: their upper 8, which a detector sees, are nearly black."""
    deep = {
        splits[name].image_folder / image["file_name"]: one.largest
        for name, known in facts.items()
        for image, one in zip(splits[name].images, known, strict=True)
        if one.largest
    }
    if not deep:
        return
    bits = max(deep.values()).bit_length()
    is_dark = median(deep.values()) < DARK
    for file, largest in deep.items():
        if is_dark:
            findings.error(
                file.parent,
                f"{{count}} images have 16 bits a channel and use {bits} of them, of which a detector would see the "
                "upper 8: scale the values and save them with 8 bits",
                f"{file.name}: values up to {largest}, which become {largest >> 8} of 255",
            )
        elif largest < DARK // 4:
            findings.warning(
                file.parent,
                "{count} images of 16 bits a channel are nearly black in the upper 8, which a detector sees",
                file.name,
            )


def _check_leaks(facts: FactsBySplit, splits: Mapping[str, CocoSplit], findings: Findings) -> None:
    """Warns where two images are the same, byte for byte or pixel for pixel."""
    seen: dict[str, tuple[str, str]] = {}
    for name, known in facts.items():
        for image, one in zip(splits[name].images, known, strict=True):
            if not one.pixels:
                continue
            first, first_file = seen.setdefault(one.pixels, (name, image["file_name"]))
            if first != name:
                sentence = f"{{count}} images are in {splits[first].annotation_file.name} too: AP on them means little"
                same = (
                    image["file_name"] if image["file_name"] == first_file else f"{image['file_name']} = {first_file}"
                )
                findings.warning(splits[name].annotation_file, sentence, same)
            elif first_file != image["file_name"]:
                message = f"{image['file_name']} = {first_file}"
                findings.warning(
                    splits[name].annotation_file, "{count} images occur twice under different names", message
                )


def _check_classes(splits: Mapping[str, CocoSplit], findings: Findings) -> None:
    """Warns of classes that a split cannot teach, or cannot measure."""
    train = next(iter(splits.values()))
    for split in splits.values():
        counts = Counter(one["category_id"] for one in split.annotations if not one["iscrowd"])
        for category, key in zip(train.categories, train.class_keys, strict=True):
            if not counts[category["id"]]:
                sentence = (
                    "{count} classes have no object to learn from"
                    if split is train
                    else "{count} classes have no object here: AP is a mean over the others"
                )
                findings.warning(split.annotation_file, sentence, key)
