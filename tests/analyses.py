"""Analyses as trainers send them, made up; their thumbnails are real JPEGs."""

import base64
import io
from typing import Any

from PIL import Image

from paploss.jobs.analysis import (
    ERROR_KINDS,
    RECALL_POINTS,
    Analysis,
    AnalysisSummary,
    AverageRecall,
    Detection,
    ErrorCost,
    Picture,
    PrecisionCurves,
    Truth,
)


def make_thumbnail(shade: int = 0) -> str:
    """A JPEG of 32 by 24 px in base64; another one for each shade."""
    file = io.BytesIO()
    Image.new("RGB", (32, 24), (shade % 256, shade // 256, 80)).save(file, "jpeg", quality=80)
    return base64.b64encode(file.getvalue()).decode()


def make_summary(cost: float = 0.1) -> AnalysisSummary:
    """Every kind of error costs as much."""
    curve = tuple(1 - cost * place / RECALL_POINTS for place in range(RECALL_POINTS))
    return AnalysisSummary(
        recall=AverageRecall(at_1=cost, at_10=2 * cost, at_100=2 * cost, small=-1, medium=cost, large=cost),
        precision=PrecisionCurves(iou_50=curve, iou_75=curve, mean=curve),
        errors={kind: ErrorCost(ap50=cost, count=round(100 * cost)) for kind in ERROR_KINDS},
        threshold=0.5,
    )


def make_picture(number: int = 0, name: str = "cell", **changes: Any) -> Picture:
    """A hit above 0.5, a duplicate below, and an object that nothing finds."""
    box, elsewhere = (10, 10, 40, 30), (100, 80, 20, 20)
    given: dict[str, Any] = {
        "file_name": f"{number}.png",
        "width_px": 160,
        "height_px": 120,
        "truths": (Truth(box=box, name=name, found=0.9), Truth(box=elsewhere, name=name)),
        "detections": (
            Detection(box=box, name=name, score=0.9, kind="hit", iou=1),
            Detection(box=(12, 10, 40, 30), name=name, score=0.3, kind="duplicate", iou=0.9),
        ),
        "thumbnail": make_thumbnail(number),
    }
    return Picture(**given | changes)


def make_analysis(cost: float = 0.1, pictures: int = 2, first: int = 0, **changes: Any) -> Analysis:
    """Pictures of images from `first` on; `changes` of each picture."""
    shown = tuple(make_picture(number, **changes) for number in range(first, first + pictures))
    return Analysis(summary=make_summary(cost), pictures=shown)
