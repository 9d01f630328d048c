"""A data set in numbers."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from paploss.jobs.dataset_report import BoxSizes, ClassReport, DatasetReport, ReportedFinding, SplitReport
from paploss.trainer.datasets.annotations import CLIPPED, DUPLICATE, EMPTY
from paploss.trainer.datasets.check import LARGE_AREA, MEDIUM_AREA, FactsBySplit
from paploss.trainer.datasets.coco import CocoSplit, Json
from paploss.trainer.datasets.findings import Findings
from paploss.trainer.datasets.image_files import ImageFacts
from paploss.trainer.datasets.visibility import Visibility

TINY_PX = 4


def make_report(
    dataset: str,
    layout: str,
    splits: Mapping[str, CocoSplit],
    facts: FactsBySplit,
    *,
    findings: Findings,
    visibility: Visibility | None = None,
) -> DatasetReport:
    """The report of splits that `check_splits` has checked; without splits it has the findings alone."""
    reported = tuple(
        ReportedFinding(level=one.level, summary=one.summary, count=one.count, examples=tuple(one.examples))
        for one in findings
    )
    return DatasetReport(
        dataset=dataset,
        layout=layout,
        profile=visibility.profile if visibility else None,
        verdict="errors" if findings.has_errors else "warnings" if reported else "ok",
        findings=reported,
        splits=tuple(
            _report_split(name, split, facts.get(name, ()), findings, visibility) for name, split in splits.items()
        ),
        classes=tuple(_report_classes(splits)),
        side_histogram={name: _count_sides(split) for name, split in splits.items()},
    )


def _report_split(
    name: str, split: CocoSplit, facts: Sequence[ImageFacts], findings: Findings, visibility: Visibility | None
) -> SplitReport:
    objects = _objects(split)
    sizes = Counter(_size_name(one["area"]) for one in objects)
    images = sorted(split.images, key=lambda image: image["width"] * image["height"])
    ends = [(image["width"], image["height"]) for image in images]
    return SplitReport(
        name=name,
        annotations=str(split.annotation_file),
        images=len(split.images),
        images_without_objects=len(split.images) - len({one["image_id"] for one in split.annotations}),
        objects=len(objects),
        crowds=len(split.annotations) - len(objects),
        box_sizes=BoxSizes(small=sizes["small"], medium=sizes["medium"], large=sizes["large"]),
        tiny=sum(min(one["bbox"][2:]) < TINY_PX for one in objects),
        clipped=findings.count(split.annotation_file, CLIPPED),
        empty=findings.count(split.annotation_file, EMPTY),
        duplicates=findings.count(split.annotation_file, DUPLICATE),
        unseen=visibility.count_unseen(split) if visibility else None,
        formats=dict(Counter(_format(one) for one in facts if not one.problem).most_common()),
        smallest_image=ends[0] if ends else None,
        median_image=ends[len(ends) // 2] if ends else None,
        largest_image=ends[-1] if ends else None,
    )


def _report_classes(splits: Mapping[str, CocoSplit]) -> list[ClassReport]:
    if not splits:
        return []
    objects = {name: Counter(one["category_id"] for one in _objects(split)) for name, split in splits.items()}
    shown = {
        name: Counter(category for category, _ in {(one["category_id"], one["image_id"]) for one in _objects(split)})
        for name, split in splits.items()
    }
    first = next(iter(splits.values()))
    return [
        ClassReport(
            id=category["id"],
            name=category["name"],
            key=key,
            objects={name: objects[name][category["id"]] for name in splits},
            images={name: shown[name][category["id"]] for name in splits},
        )
        for category, key in zip(first.categories, first.class_keys, strict=True)
    ]


def _objects(split: CocoSplit) -> list[Json]:
    return [one for one in split.annotations if not one["iscrowd"]]


def _size_name(area: float) -> str:
    return "small" if area < MEDIUM_AREA else "medium" if area < LARGE_AREA else "large"


def _count_sides(split: CocoSplit) -> dict[int, int]:
    sides = (math.sqrt(one["bbox"][2] * one["bbox"][3]) for one in _objects(split))
    counts = Counter(max(0, math.floor(math.log2(side))) if side > 1 else 0 for side in sides)
    return {2**power: counts[power] for power in sorted(counts)}


def _format(facts: ImageFacts) -> str:
    depth = " 16 bit" if facts.largest else ""
    return f"{facts.format or 'unknown'} {facts.mode}{depth}".strip()
