"""The losses: one class each, with the parameters that a request may set and where it can be trained.

A loss is identified by its `name`. `LossSpec` is the union of all of them, and `LOSSES` finds a class by name.
Documents are read with `parse_loss`, also those of version 0.1.0: they have every key for every loss, those of others
empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from operator import not_
from typing import Annotated, Any, ClassVar, Final, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails

from paploss.jobs.profiles import PROFILES, Detector

FUNCTION_NAMES = ("H2", "I2", "I3", "I1", "H1")
"""Row order of a control point array: H2 ranks with gradient, H1 without, I1..I3 act on quality."""

Quality = Literal["giou", "iou", "l1"]
Form = Literal["sigmoid", "linear", "square"]
TopK = Annotated[
    int | None,
    Field(ge=1, lt=2**31, description="only the k entries of the highest scores compete; all by default"),
]
_Coordinate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Row = Annotated[tuple[tuple[_Coordinate, _Coordinate], ...], Field(max_length=1000)]


class HeadLoss(BaseModel):
    """Parameters of the Parameterized AP Loss in one detector head."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    control_points: tuple[_Row, ...] = Field(
        max_length=5,
        description="[5, K+2, 2]: rows H2, I2, I3, I1, H1, each a list of (x, y) from (0, 0) to (1, 1), monotone. "
        "With four rows H1 is the step function sign(d)/2 + 1/2.",
    )
    gradient_scale: float = Field(1.0, gt=0, le=100, description="factor on the gradient that reaches the box output")
    quality: Quality = "giou"
    # Left out of documents where they change nothing, so that programs from before they existed read those.
    l1_weight: float = Field(
        0.0, ge=0, le=100, exclude_if=not_, description="of an added L1 distance of the box outputs from their targets"
    )
    giou_weight: float = Field(0.0, ge=0, le=100, exclude_if=not_, description="of an added 1 - GIoU of the boxes")
    error_driven: bool = Field(
        False,
        exclude_if=not_,
        description="rank with AP Loss and its error-driven gradient in place of the functions, which then do nothing",
    )

    @property
    def extensions(self) -> dict[str, float | bool]:
        """What it has beyond the published formula, by field; none of them in a published set."""
        values = {"l1_weight": self.l1_weight, "giou_weight": self.giou_weight, "error_driven": self.error_driven}
        return {name: value for name, value in values.items() if value}

    @property
    def summary(self) -> str:
        """What it is besides its functions, in a line for people."""
        weights = (("L1", self.l1_weight), ("(1 - GIoU)", self.giou_weight))
        terms = [f"{weight:.3g} {name} added" for name, weight in weights if weight]
        ranking = ["ranked by AP Loss, error-driven: the functions do nothing"] if self.error_driven else []
        return ", ".join((f"gradient scale λ = {self.gradient_scale:.3f}", f"quality {self.quality}", *terms, *ranking))

    @model_validator(mode="after")
    def _check_control_points(self) -> Self:
        rows = self.control_points
        if len(rows) not in (4, 5):
            raise ValueError(f"control_points: expected 4 or 5 rows ({', '.join(FUNCTION_NAMES)}), got {len(rows)}")
        if len({len(row) for row in rows}) != 1:
            raise ValueError(f"control_points: rows differ in length: {[len(row) for row in rows]}")
        for name, row in zip(FUNCTION_NAMES, rows, strict=False):
            if len(row) < 2 or row[0] != (0.0, 0.0) or row[-1] != (1.0, 1.0):
                raise ValueError(f"control_points[{name}]: expected to start at (0, 0) and end at (1, 1), got {row}")
            for (x0, y0), (x1, y1) in pairwise(row):
                if x1 < x0 or y1 < y0:
                    raise ValueError(f"control_points[{name}]: not monotone: ({x0}, {y0}) is followed by ({x1}, {y1})")
        return self


@dataclass(frozen=True)
class Rate:
    """A learning rate and the batch size that it is for."""

    peak: float
    batch_size: int


DETR_RATE: Final = Rate(2e-4, 32)
"""Of Deformable DETR with its own loss, in steps of AdamW. No other loss here was published with this very detector and
schedule: all have its rate."""


class Loss(BaseModel):
    """Base of every loss. A class is the loss's record, an instance is the loss with its parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    title: ClassVar[str]
    """As the tables name it."""
    rates: ClassVar[Mapping[Detector, Rate]]
    """The detectors that it can be trained with, and its rate in the published schedules of each.

    Sources: Tao et al., "Searching Parameterized AP Loss for Object Detection", NeurIPS 2021, and the configurations
    released with AP, aLRP and Rank & Sort Loss and CSE-AutoLoss. All rows of a detector have the same length, also
    where a loss was published with another one.
    """
    is_compared: ClassVar[bool] = True
    """Whether a comparison has it without being asked."""

    name: str

    @classmethod
    def shorthands(cls) -> dict[str, "Loss"]:
        """Losses of this kind that a name says whole, by that name."""
        name = cls.model_fields["name"].default
        return {name: cls(name=name)}

    @property
    def label(self) -> str:
        """What identifies it among other losses in a table."""
        return self.title

    @property
    def head_losses(self) -> Mapping[str, HeadLoss]:
        """The functions and gradient scale of each head, where it has any."""
        return {}


class RankingLoss(Loss):
    """A loss that ranks all entries of a batch. Its fields are arguments of `paploss.trainer.heads.objective`."""

    parts: ClassVar[tuple[str, ...]] = ("loss_cls", "loss_bbox")
    """Names of the values that it consists of, of which training minimises the sum."""


class ParameterizedAP(RankingLoss):
    """The Parameterized AP Loss, with its parameters in each head."""

    title = "Parameterized AP"
    parts = ("loss_rank",)
    rates = {
        "retinanet": Rate(0.016, 64),
        "faster-rcnn": Rate(0.024, 64),
        "atss": Rate(0.016, 64),  # RetinaNet's
        "deformable-detr": DETR_RATE,
    }

    name: Literal["parameterized_ap"] = "parameterized_ap"
    heads: dict[Annotated[str, Field(max_length=100)], HeadLoss] = Field(
        min_length=1, max_length=20, description="one entry per head of the profile"
    )
    top_k: TopK = None

    @model_validator(mode="after")
    def _check_top_k(self) -> Self:
        if self.top_k is not None and any(head.error_driven for head in self.heads.values()):
            raise ValueError(f"top_k: expected none with error_driven, where every entry competes, got {self.top_k}")
        return self

    @classmethod
    def shorthands(cls) -> dict[str, Loss]:
        """None: its sets of parameters have names of their own, see `paploss.jobs.presets`."""
        return {}

    @property
    def head_losses(self) -> Mapping[str, HeadLoss]:
        """The functions and gradient scale of each head."""
        return self.heads


class HandmadeAP(RankingLoss):
    """The formula of the Parameterized AP Loss with functions made by hand."""

    title = "Hand-made AP"
    parts = ("loss_rank",)
    rates = ParameterizedAP.rates  # the same formula
    is_compared = False  # it has no row in any table, and its form sigmoid takes time of order P N

    name: Literal["handmade_ap"] = "handmade_ap"
    form: Form
    top_k: TopK = None

    @classmethod
    def shorthands(cls) -> dict[str, Loss]:
        """One for each form."""
        return {f"handmade_{form}": cls(form=form) for form in get_args(Form)}

    @property
    def label(self) -> str:
        """The title and the form."""
        return f"{self.title}, {self.form}"


class APL1(RankingLoss):
    """AP Loss with L1 on the boxes."""

    title = "AP Loss + L1"
    # Published for RetinaNet alone; on Faster R-CNN raised as aLRP's rate is from RetinaNet to there.
    rates = {
        "retinanet": Rate(0.002, 32),
        "faster-rcnn": Rate(0.003, 32),
        "atss": Rate(0.002, 32),
        "deformable-detr": DETR_RATE,
    }

    name: Literal["ap_l1"] = "ap_l1"


class ALRP(RankingLoss):
    """aLRP Loss."""

    title = "aLRP"
    rates = {
        "retinanet": Rate(0.008, 32),
        "faster-rcnn": Rate(0.012, 32),
        "atss": Rate(0.008, 32),
        "deformable-detr": DETR_RATE,
    }

    name: Literal["alrp"] = "alrp"


class RankSort(RankingLoss):
    """Rank & Sort Loss."""

    title = "Rank & Sort"
    parts = ("loss_rank", "loss_sort", "loss_bbox")
    rates = {
        "retinanet": Rate(0.008, 32),  # ATSS's
        "faster-rcnn": Rate(0.012, 16),
        "atss": Rate(0.008, 32),
        "deformable-detr": DETR_RATE,
    }

    name: Literal["rank_sort"] = "rank_sort"


class FocalL1(Loss):
    """Focal loss with L1 on the boxes, mmdet's own."""

    title = "Focal + L1"
    rates = {"retinanet": Rate(0.016, 64)}

    name: Literal["focal_l1"] = "focal_l1"


class FocalGIoU(Loss):
    """Focal loss with GIoU on the boxes, mmdet's own."""

    title = "Focal + GIoU"
    rates = {"retinanet": Rate(0.016, 64), "atss": Rate(0.01, 16)}  # ATSS: mmdet's

    name: Literal["focal_giou"] = "focal_giou"


class FocalL1GIoU(Loss):
    """Focal loss with L1 and GIoU on the boxes, Deformable DETR's own."""

    title = "Focal + L1 + GIoU"
    rates = {"deformable-detr": DETR_RATE}

    name: Literal["focal_l1_giou"] = "focal_l1_giou"


_IOU_TARGET_RATES: Final[Mapping[Detector, Rate]] = {**FocalGIoU.rates, **FocalL1GIoU.rates}
"""Of the detectors' own losses with GIoU, whose place those with an IoU as target take; QFL and Varifocal were
published with that of ATSS (mmdet's configs of GFL and VFNet). The boxes keep their part: GIoU, in Deformable DETR L1
too."""


class QFLGIoU(Loss):
    """Quality Focal Loss with GIoU on the boxes."""

    title = "QFL + GIoU"
    rates = _IOU_TARGET_RATES

    name: Literal["qfl_giou"] = "qfl_giou"


class Varifocal(Loss):
    """Varifocal Loss with GIoU on the boxes."""

    title = "Varifocal + GIoU"
    rates = _IOU_TARGET_RATES

    name: Literal["varifocal"] = "varifocal"


class IoUBCE(Loss):
    """The IoU-aware cross-entropy of Align-DETR with GIoU on the boxes."""

    title = "IoU-aware BCE + GIoU"
    rates = _IOU_TARGET_RATES

    name: Literal["iou_bce"] = "iou_bce"


class MAL(Loss):
    """The matchability-aware loss of DEIM, with L1 and GIoU on the boxes."""

    title = "MAL + L1 + GIoU"
    rates = {"deformable-detr": DETR_RATE}

    name: Literal["mal"] = "mal"


class PositionSupervised(Loss):
    """The position-supervised loss of Stable-DINO, with L1 and GIoU on the boxes."""

    title = "Position-supervised + L1 + GIoU"
    rates = {"deformable-detr": DETR_RATE}

    name: Literal["position_supervised"] = "position_supervised"


class CEL1(Loss):
    """Cross-entropy with L1 on the boxes, mmdet's own."""

    title = "CE + L1"
    rates = {"faster-rcnn": Rate(0.04, 64)}

    name: Literal["ce_l1"] = "ce_l1"


class CEGIoU(Loss):
    """Cross-entropy with GIoU on the boxes, mmdet's own."""

    title = "CE + GIoU"
    rates = {"faster-rcnn": Rate(0.04, 64)}

    name: Literal["ce_giou"] = "ce_giou"


class CSEAutoLossA(Loss):
    """CSE-AutoLoss-A, for two stages."""

    title = "CSE-AutoLoss-A"
    rates = {"faster-rcnn": Rate(0.04, 64)}  # that of CE + GIoU, whose place it takes; published on mmdet's schedule

    name: Literal["cse_autoloss_a"] = "cse_autoloss_a"


class CSEAutoLossB(Loss):
    """CSE-AutoLoss-B, for one stage."""

    title = "CSE-AutoLoss-B"
    rates = {"retinanet": Rate(0.016, 64), "atss": Rate(0.01, 16)}  # those of Focal + GIoU, whose place it takes

    name: Literal["cse_autoloss_b"] = "cse_autoloss_b"


_AnyLoss = (
    ParameterizedAP
    | HandmadeAP
    | APL1
    | ALRP
    | RankSort
    | FocalL1
    | FocalGIoU
    | FocalL1GIoU
    | QFLGIoU
    | Varifocal
    | MAL
    | IoUBCE
    | PositionSupervised
    | CEL1
    | CEGIoU
    | CSEAutoLossA
    | CSEAutoLossB
)
LOSSES: Final[Mapping[str, type[Loss]]] = {one.model_fields["name"].default: one for one in get_args(_AnyLoss)}
"""Every loss that can be trained here, by name."""

_KEYS_OF_0_1_0: Final = ("heads", "form", "top_k")


def _drop_empty_keys(document: Any) -> Any:
    """Adds the name that may be missing, and takes out the empty keys that another loss's parameters left."""
    if not isinstance(document, Mapping):
        return document
    named = {"name": ParameterizedAP.model_fields["name"].default, **document}
    name = named["name"]
    own = LOSSES[name].model_fields if isinstance(name, str) and name in LOSSES else named
    return {key: value for key, value in named.items() if key in own or key not in _KEYS_OF_0_1_0 or value}


LossSpec = Annotated[_AnyLoss, Field(discriminator="name"), BeforeValidator(_drop_empty_keys)]
"""A loss by name, with the parameters that it has. Without a name it is parameterized_ap."""

_ADAPTER: Final[TypeAdapter[LossSpec]] = TypeAdapter(LossSpec)


def parse_loss(document: object, *, strict: bool) -> LossSpec:
    """The loss that a document describes, of this version or of 0.1.0.

    Args:
        document: a mapping, or a loss, which is returned as it is.
        strict: refuse unknown keys, as for what a person wrote. Otherwise they are left out, as for what was stored
            or sent by a newer version.

    Raises:
        ValueError: names each key that is wrong, and what is wrong with it.
    """
    try:
        return _ADAPTER.validate_python(document, extra="forbid" if strict else "ignore")
    except ValidationError as error:
        raise ValueError("; ".join(map(_describe, error.errors()))) from None


def _describe(error: ErrorDetails) -> str:
    place = [str(part) for part in error["loc"] if part not in LOSSES]
    return f"{'.'.join(('loss', *place))}: {error['msg']}, got {error['input']!r:.100}"


def check_fit(loss: Loss, profile: str) -> None:
    """Refuse a loss that the profile's detector cannot be trained with.

    Args:
        loss: any loss.
        profile: a name in PROFILES.

    Raises:
        ValueError: names what was expected and what came.
    """
    card = PROFILES[profile]
    if card.detector not in (None, *loss.rates):
        fitting = ", ".join(name for name, record in LOSSES.items() if card.detector in record.rates)
        raise ValueError(
            f"loss.name: expected one of {fitting} for the profile {profile!r}, got {loss.name!r}, which is for "
            f"{', '.join(loss.rates)}"
        )
    if loss.head_losses and set(loss.head_losses) != set(card.heads):
        got = ", ".join(loss.head_losses)
        raise ValueError(f"loss.heads: expected {', '.join(card.heads)} for the profile {profile!r}, got {got}")
    if isinstance(loss, HandmadeAP) and loss.form == "sigmoid" and loss.top_k is None and card.has_many_entries:
        raise ValueError(
            f"loss.top_k: expected for the form sigmoid and the profile {profile!r}, because this form compares all "
            "pairs of positives and other entries; 100000 is usual"
        )
