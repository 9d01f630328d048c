"""An evaluation's analysis in numbers: average recall, precision-recall curves and the costs of errors."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

from paploss.jobs.analysis import AnalysisSummary, AverageRecall, PrecisionCurves
from paploss.trainer.analysis.errors import SortedDetections, error_costs

_DIGITS = 4


def summarise(evaluation: COCOeval, found: SortedDetections) -> AnalysisSummary:
    """The numbers of an analysis.

    Args:
        evaluation: summarised, of a split with at least one object that counts.
        found: the detections of the same evaluation.
    """
    at_1, at_10, at_100, small, medium, large = (float(value) for value in evaluation.stats[6:12])
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # [IoU, recall, class], all areas, 100 detections
    by_iou = precision[:, :, (precision > -1).any(axis=(0, 1))].mean(axis=2)
    return AnalysisSummary(
        recall=AverageRecall(at_1=at_1, at_10=at_10, at_100=at_100, small=small, medium=medium, large=large),
        precision=PrecisionCurves(
            iou_50=_curve(by_iou[0]),
            iou_75=_curve(by_iou[5]),
            mean=_curve(by_iou.mean(axis=0)),
        ),
        errors=error_costs(found),
        threshold=min(1.0, max(0.0, found.threshold)),
    )


def _curve(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(np.round(values, _DIGITS).tolist())
