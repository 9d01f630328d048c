"""What an evaluation measures, and the reward: the part of it that a search maximises.

A reward is one of COCO's metrics (`AP75`), the AP of one class (`{class: Platelets}`), the mean AP of the k classes
with the lowest (`{worst_classes: 2}`), or a weighted sum of these (`{sum: [{metric: AP, weight: 3}, {metric: AP75}]}`),
whose weights are divided by their total: every reward is a fraction in [0, 1].
"""

from collections.abc import Mapping
from math import fsum
from statistics import fmean
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError

from paploss.jobs.messages import Message, PlainText

AP = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
"""A COCO metric: a fraction, or -1 where there is nothing to measure."""

MOST_CLASSES: Final = 10_000
LONGEST_CLASS_NAME: Final = 200


class Metrics(Message):
    """COCO metrics of one evaluation, fractions in [0, 1]; -1 where the data set has no such object."""

    ap: AP
    ap50: AP
    ap75: AP
    ap_small: AP
    ap_medium: AP
    ap_large: AP
    per_class: dict[Annotated[PlainText, Field(max_length=LONGEST_CLASS_NAME)], AP] = Field(
        {},
        max_length=MOST_CLASSES,
        description="by class name in the order of labels; where names are equal or empty, with the category's id",
    )
    ap_by_iou: tuple[AP, ...] = Field((), max_length=10, description="at IoU 0.50, 0.55, ... 0.95; AP is their mean")


MetricName = Literal["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"]
METRIC_NAMES: Final[tuple[MetricName, ...]] = get_args(MetricName)


class ClassAP(Message):
    """The AP of one class."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    name: str = Field(
        alias="class", min_length=1, max_length=LONGEST_CLASS_NAME, description="as results by class call it"
    )


class WorstClasses(Message):
    """The mean AP of the classes with the lowest AP; classes without an object are left out."""

    worst_classes: int = Field(ge=1, le=MOST_CLASSES, description="how many")


def _choose(given: Any) -> str | None:
    """The name of the form that `given` has."""
    if isinstance(given, str):
        return "name" if given in METRIC_NAMES else None
    if isinstance(given, Mapping):
        return _FORMS.get(next(iter(given))) if len(given) == 1 else None
    return type(given).__name__


_FORMS: Final = {"class": "ClassAP", "worst_classes": "WorstClasses", "sum": "WeightedSum"}
"""By key."""

_SINGLE: Final = f"{', '.join(METRIC_NAMES)}, {{class: NAME}}, {{worst_classes: K}}"
_Single = (
    Annotated[MetricName, Tag("name")]
    | Annotated[ClassAP, Tag("ClassAP")]
    | Annotated[WorstClasses, Tag("WorstClasses")]
)
Metric = Annotated[
    _Single,
    Discriminator(_choose, custom_error_type="metric", custom_error_message=f"expected one of {_SINGLE}"),
]
"""One number of an evaluation."""


class Term(Message):
    """A part of a weighted sum."""

    metric: Metric
    weight: float = Field(1.0, gt=0, le=1e6)


class WeightedSum(Message):
    """A sum of metrics; the weights are divided by their total."""

    sum: tuple[Term, ...] = Field(min_length=1, max_length=100)


Reward = Annotated[
    _Single | Annotated[WeightedSum, Tag("WeightedSum")],
    Discriminator(
        _choose,
        custom_error_type="reward",
        custom_error_message=f"expected one of {_SINGLE}, {{sum: [{{metric: one of these, weight: NUMBER}}, ...]}}",
    ),
]
"""What is maximised."""

REWARD: Final[TypeAdapter[Reward]] = TypeAdapter(Reward)


MOST_LISTED: Final = 30
"""Of classes, in an error."""


class UndefinedMetricError(ValueError):
    """There is nothing to measure; says what could be measured instead."""


def measure(reward: Reward, metrics: Metrics) -> float:
    """The reward of an evaluation, in [0, 1].

    Raises:
        UndefinedMetricError: one of its metrics has nothing to measure.
    """
    match reward:
        case ClassAP():
            if reward.name not in metrics.per_class:
                raise UndefinedMetricError(
                    f"there is no class {reward.name!r}; expected one of {_list(metrics.per_class)}"
                )
            return _check(reward, metrics.per_class[reward.name], metrics)
        case WorstClasses():
            defined = sorted(ap for ap in metrics.per_class.values() if ap >= 0)
            if len(defined) < reward.worst_classes:
                raise UndefinedMetricError(
                    f"expected at most {len(defined)} worst_classes, which have an object, got {reward.worst_classes}; "
                    f"they are {_list(_defined_classes(metrics))}"
                )
            return fmean(defined[: reward.worst_classes])
        case WeightedSum():
            parts = [(term.weight, measure(term.metric, metrics)) for term in reward.sum]
            total = fsum(weight for weight, _ in parts)
            return min(1.0, fsum(weight / total * value for weight, value in parts))
        case _:
            return _check(reward, getattr(metrics, reward.lower()), metrics)


def name_reward(reward: Reward) -> str:
    """What people call it: `AP75`, `AP of Platelets`, `(0.75 AP + 0.25 AP_small)`, which is read after a number."""
    match reward:
        case ClassAP():
            return f"AP of {reward.name}"
        case WorstClasses():
            return (
                f"AP of the {reward.worst_classes} worst classes"
                if reward.worst_classes > 1
                else "AP of the worst class"
            )
        case WeightedSum():
            total = fsum(term.weight for term in reward.sum)
            terms = " + ".join(f"{term.weight / total:.2g} {name_reward(term.metric)}" for term in reward.sum)
            return f"({terms})"
        case _:
            return reward


def name_requested(request: Mapping[str, Any]) -> str:
    """The name of the reward of a stored request of any version; `reward` where this one cannot read it."""
    try:
        return name_reward(REWARD.validate_python(request.get("reward", "AP")))
    except ValidationError:
        return "reward"


def _check(metric: Metric, value: float, metrics: Metrics) -> float:
    if value >= 0:
        return value
    defined = [name for name in METRIC_NAMES if getattr(metrics, name.lower()) >= 0]
    classes = _defined_classes(metrics)
    found = [*defined, *([f"the AP of {_list(classes)}"] if classes else [])]
    raise UndefinedMetricError(f"{name_reward(metric)} is undefined, for no object counts; defined are {_list(found)}")


def _defined_classes(metrics: Metrics) -> list[str]:
    return [name for name, ap in metrics.per_class.items() if ap >= 0]


def _list(names: Any) -> str:
    listed = list(names)
    more = f" and {len(listed) - MOST_LISTED} more" if len(listed) > MOST_LISTED else ""
    return (", ".join(listed[:MOST_LISTED]) or "none") + more
