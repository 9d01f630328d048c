"""COCO metrics of a detector on one split."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from paploss.jobs.metrics import Metrics
from paploss.trainer import distributed
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.datasets.loading import EvaluationSamples, evaluation_batches
from paploss.trainer.profiles.recipe import Config

BATCH_SIZE = 16


@dataclass(frozen=True)
class Evaluated:
    """An evaluation: what it has measured, and what that was measured from."""

    metrics: Metrics
    detections: NDArray[np.float64]
    """`[n, 7]`: the image's id in the split, x, y, width, height (px), score, label."""
    coco: COCOeval
    """Summarised."""


def evaluate(
    detector: Any,
    split: CocoSplit,
    pipeline: tuple[Config, ...],
    process_count: int = 0,
    on_batch: Callable[[], None] = lambda: None,
) -> Evaluated:
    """COCO's evaluation of `detector` on `split`; parallel processes share the images and all get the result.

    Args:
        detector: an mmdet detector; left in evaluation mode.
        split: images and annotations.
        pipeline: the test pipeline.
        process_count: processes that load images.
        on_batch: called before each batch; it may raise to leave.
    """
    indices = _by_shape(split)[distributed.rank() :: distributed.world_size()]
    samples = EvaluationSamples(split, pipeline, indices)
    device = next(detector.parameters()).device
    # Each process has normalised its own images since the last step began.
    distributed.broadcast_from_first(detector.buffers())
    detector.eval()
    rows = [torch.zeros(0, 7, dtype=torch.float64)]
    with torch.inference_mode():
        for batch in evaluation_batches(samples, BATCH_SIZE, process_count, device):
            on_batch()
            inputs = detector.data_preprocessor(batch, training=False)
            for detected in detector(**inputs, mode="predict"):
                rows.append(_rows(detected))
    return evaluate_detections(split, distributed.gather_rows(torch.cat(rows)).numpy())


def _by_shape(split: CocoSplit) -> list[int]:
    """Positions of the images by the ratio of their sides: a batch is padded to one shape, and little is then empty."""
    ratios = [image["width"] / image["height"] for image in split.images]
    return sorted(range(len(ratios)), key=ratios.__getitem__)


def _rows(detected: Any) -> Tensor:
    """`[n, 7]` float64: image id, x, y, width, height, score, label."""
    found = detected.pred_instances
    boxes = found.bboxes.double().cpu()
    image = torch.full((len(boxes), 1), detected.img_id, dtype=torch.float64)
    columns = (
        image,
        boxes[:, :2],
        boxes[:, 2:] - boxes[:, :2],
        found.scores[:, None].cpu(),
        found.labels[:, None].cpu(),
    )
    return torch.cat([column.double() for column in columns], dim=1)


def evaluate_detections(split: CocoSplit, detections: NDArray[np.float64]) -> Evaluated:
    """pycocotools' twelve-number summary, the parts of it that `Metrics` has, and the AP of each class and at each IoU.

    pycocotools keeps ids as float64 and sorts them: it gets positions, never the ids of a file.

    Args:
        split: the truth.
        detections: `[n, 7]`: the image's id in `split`, x, y, width, height (px), score, label. n may be 0.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = split.as_coco()
        truth.createIndex()
        rows = detections.copy()
        rows[:, 6] += 1  # labels are from 0, the categories of `as_coco` in the same order from 1
        # loadRes refuses an empty list; a detector that finds nothing has an AP like any other.
        found = truth.loadRes(rows) if len(rows) else COCO()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return Evaluated(_metrics(evaluation, split), detections, evaluation)


def _metrics(evaluation: COCOeval, split: CocoSplit) -> Metrics:
    ap, ap50, ap75, ap_small, ap_medium, ap_large = (float(value) for value in evaluation.stats[:6])
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # [IoU, recall, class], all areas, 100 detections
    per_class = {name: _mean_defined(precision[:, :, label]) for label, name in enumerate(split.class_keys)}
    return Metrics(
        ap=ap,
        ap50=ap50,
        ap75=ap75,
        ap_small=ap_small,
        ap_medium=ap_medium,
        ap_large=ap_large,
        per_class=per_class,
        ap_by_iou=tuple(_mean_defined(at_threshold) for at_threshold in precision),
    )


def undefined_because(split: CocoSplit) -> str:
    """Why COCO's AP on `split` is -1."""
    objects = [one for one in split.annotations if not one["iscrowd"]]
    if not objects:
        return "all objects are crowds" if split.annotations else "there are no objects"
    return f"none of the {len(objects)} objects counts in COCO's evaluation, which leaves out areas above 1e10 px"


def _mean_defined(precision: NDArray[np.float64]) -> float:
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else -1.0
