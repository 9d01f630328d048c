"""Named parameter sets of the Parameterized AP Loss: the published ones, and the identity where searches start.

Source of the published numbers: Tao et al., "Searching Parameterized AP Loss for Object Detection", NeurIPS 2021
(interior knots of the searched functions and gradient scales; quality GIoU).
"""

from collections.abc import Sequence

from paploss.jobs.losses import APL1, FUNCTION_NAMES, HandmadeAP, HeadLoss, Loss, ParameterizedAP
from paploss.jobs.profiles import PROFILES

Knots = tuple[tuple[float, float], ...]

_RETINANET: dict[str, Knots] = {
    "H2": ((0.4182, 0.0277), (0.4948, 0.2187), (0.6882, 0.2624), (0.802, 0.6688)),
    "I2": ((0.1279, 0.3696), (0.3056, 0.4708), (0.5198, 0.529), (0.6983, 0.6709)),
    "I3": ((0.0931, 0.0289), (0.3607, 0.5585), (0.4823, 0.7131), (0.6291, 0.8162)),
    "I1": ((0.4914, 0.1499), (0.5492, 0.1664), (0.6259, 0.3051), (0.7945, 0.6195)),
    "H1": ((0.413, 0.0798), (0.4356, 0.3571), (0.5361, 0.7063), (0.8097, 0.9083)),
}
_FASTER_RCNN_RPN: dict[str, Knots] = {
    "H2": ((0.9058, 0.0484), (0.9068, 0.512), (0.9232, 0.7286), (0.9766, 0.9677)),
    "I2": ((0.32, 0.1084), (0.3493, 0.2482), (0.4924, 0.3869), (0.7231, 0.651)),
    "I3": ((0.0935, 0.0419), (0.2177, 0.1168), (0.5857, 0.3748), (0.7962, 0.6683)),
    "I1": ((0.0045, 0.3599), (0.1295, 0.4603), (0.7662, 0.514), (0.8483, 0.5259)),
    "H1": ((0.1764, 0.1081), (0.5245, 0.4907), (0.6956, 0.5668), (0.7642, 0.8645)),
}
_FASTER_RCNN_RCNN: dict[str, Knots] = {
    "H2": ((0.3344, 0.0268), (0.546, 0.2461), (0.8196, 0.6466), (0.9467, 0.8617)),
    "I2": ((0.0978, 0.2019), (0.4073, 0.3367), (0.6337, 0.4689), (0.7708, 0.6633)),
    "I3": ((0.2406, 0.0515), (0.3358, 0.5259), (0.6047, 0.6647), (0.8575, 0.7792)),
    "I1": ((0.2574, 0.2363), (0.5442, 0.5999), (0.7165, 0.6548), (0.8728, 0.8331)),
    "H1": ((0.1551, 0.2675), (0.4902, 0.3957), (0.7245, 0.5095), (0.8068, 0.872)),
}


def _head(functions: dict[str, Knots], gradient_scale: float) -> HeadLoss:
    rows = tuple(((0.0, 0.0), *functions[name], (1.0, 1.0)) for name in FUNCTION_NAMES)
    return HeadLoss(control_points=rows, gradient_scale=gradient_scale, quality="giou")


PRESETS = {
    "retinanet": ParameterizedAP(heads={"bbox_head": _head(_RETINANET, 4.1231)}),
    "faster-rcnn": ParameterizedAP(
        heads={"rpn_head": _head(_FASTER_RCNN_RPN, 1.6950), "bbox_head": _head(_FASTER_RCNN_RCNN, 7.1324)}
    ),
}
"""Published parameter sets by name."""


def published_for(profile: str) -> ParameterizedAP | None:
    """The published parameters that fit a profile; none for a detector that the paper did not search."""
    preset = PROFILES[profile].preset
    return None if preset is None else PRESETS[preset]


def identity(heads: Sequence[str], knots: int = 4) -> ParameterizedAP:
    """The loss with f(x) = x for every function and gradient scale 1 in each of `heads`."""
    line = tuple((k / (knots + 1), k / (knots + 1)) for k in range(1, knots + 1))
    return ParameterizedAP(heads={head: _head(dict.fromkeys(FUNCTION_NAMES, line), 1.0) for head in heads})


def as_parameterized(loss: Loss, heads: Sequence[str], knots: int = 4) -> ParameterizedAP:
    """A loss as a point of the extended family of parameterized losses, in a detector with `heads`.

    Raises:
        ValueError: the loss is not of that family, or ranks the highest scores alone.
    """
    start = identity(heads, knots)
    if getattr(loss, "top_k", None) is not None:
        raise ValueError(f"loss.top_k: expected none, where every entry competes, got {loss.name} with top_k")
    match loss:
        case ParameterizedAP():
            return loss
        case HandmadeAP(form="linear"):
            return start
        case APL1():
            added = {"error_driven": True, "l1_weight": 1.0}
            return ParameterizedAP(heads={name: head.model_copy(update=added) for name, head in start.heads.items()})
    raise ValueError(f"loss: expected parameterized_ap, handmade_linear or ap_l1, got {loss.name}")
