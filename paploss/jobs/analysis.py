"""What the detections of a training's last evaluation say beyond its AP: which errors cost it, and what they look like.

The kinds of errors are those of TIDE (Bolya et al., ECCV 2020), at IoU 0.5 for a hit and 0.1 for a relation to an
object at all.
"""

from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from paploss.jobs.messages import Fraction, Message, PlainText
from paploss.jobs.metrics import AP
from paploss.jobs.thumbnails import Thumbnail

ErrorKind = Literal["classification", "localisation", "both", "duplicate", "background", "missed"]
ERROR_KINDS: Final[tuple[ErrorKind, ...]] = get_args(ErrorKind)
"""In the order of TIDE's figures."""
DetectionKind = Literal["hit", "classification", "localisation", "both", "duplicate", "background"]

RECALL_POINTS: Final = 101
"""COCO's: 0, 0.01, ... 1."""
MOST_PICTURES: Final = 6
MOST_TRUTHS: Final = 100
MOST_DETECTIONS: Final = 50
LONGEST_NAME: Final = 40
LONGEST_FILE_NAME: Final = 100

_Pixels = Annotated[float, Field(ge=-1e6, le=1e6)]
_Side = Annotated[int, Field(ge=1, le=10**6)]
_Name = Annotated[PlainText, Field(max_length=LONGEST_NAME)]
_Curve = Annotated[tuple[Fraction, ...], Field(min_length=RECALL_POINTS, max_length=RECALL_POINTS)]


class AverageRecall(Message):
    """COCO's average recall over IoU 0.5 to 0.95, fractions; -1 where there is no such object."""

    at_1: AP = Field(description="with one detection an image")
    at_10: AP
    at_100: AP
    small: AP = Field(description="with 100 detections an image, as the next two")
    medium: AP
    large: AP


class PrecisionCurves(Message):
    """Precision at recalls 0, 0.01, ... 1, mean over the classes, interpolated as COCO does."""

    iou_50: _Curve
    iou_75: _Curve
    mean: _Curve = Field(description="over IoU 0.5, 0.55, ... 0.95; its own mean is the AP")


class ErrorCost(Message):
    """What one kind of error costs."""

    ap50: Fraction = Field(description="by how much AP50 would be higher without these errors")
    count: int = Field(ge=0, lt=2**31, description="detections scored at least `threshold`; of `missed`, objects")


class AnalysisSummary(Message):
    """An analysis in numbers."""

    recall: AverageRecall
    precision: PrecisionCurves
    errors: dict[ErrorKind, ErrorCost] = Field(max_length=len(ERROR_KINDS))
    threshold: Fraction = Field(description="the score from which on F1 is highest at IoU 0.5, over all classes")


class Truth(Message):
    """An object of the data set."""

    box: tuple[_Pixels, _Pixels, _Pixels, _Pixels] = Field(description="x, y, width, height")
    name: _Name = Field(description="of its class, shortened")
    crowd: bool = False
    found: Fraction | None = Field(None, description="score of the detection that hits it; null: none does")


class Detection(Message):
    """A detection, and what it is at IoU 0.5."""

    box: tuple[_Pixels, _Pixels, _Pixels, _Pixels] = Field(description="x, y, width, height")
    name: _Name = Field(description="of its class, shortened")
    score: Fraction
    kind: DetectionKind
    iou: Fraction = Field(description="with the object that it hits, or that its kind refers to")


class Scene(Message):
    """The objects of one image and its best-scored detections."""

    file_name: PlainText = Field(max_length=LONGEST_FILE_NAME, description="the end of it")
    width_px: _Side
    height_px: _Side
    truths: tuple[Truth, ...] = Field(max_length=MOST_TRUTHS)
    detections: tuple[Detection, ...] = Field(max_length=MOST_DETECTIONS, description="the best-scored first")


class Picture(Scene):
    """A scene with its image, as a trainer sends it."""

    thumbnail: Thumbnail | None = Field(None, description="JPEG in base64, of the whole image")


class KeptPicture(Scene):
    """A scene with its image, as a controller keeps it."""

    thumbnail: str | None = Field(None, pattern=r"^[0-9a-f]{32,32}$", description="digest of the JPEG")


class Analysis(Message):
    """What a trainer sends of one training."""

    summary: AnalysisSummary
    pictures: tuple[Picture, ...] = Field((), max_length=MOST_PICTURES)
