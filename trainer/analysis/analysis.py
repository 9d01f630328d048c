"""What the detections of a training's last evaluation say beyond its AP."""

from paploss.jobs.analysis import Analysis
from paploss.trainer.analysis.errors import sort_detections
from paploss.trainer.analysis.pictures import make_pictures
from paploss.trainer.analysis.summary import summarise
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.evaluation import Evaluated


def analyse(evaluated: Evaluated, split: CocoSplit) -> Analysis:
    """The analysis of an evaluation of `split`, in numbers and pictures."""
    found = sort_detections(evaluated.coco, split, evaluated.detections)
    return Analysis(summary=summarise(evaluated.coco, found), pictures=tuple(make_pictures(split, found)))
