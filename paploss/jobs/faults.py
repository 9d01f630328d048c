"""What is wrong with a document, in words for the people who wrote it: pydantic's errors without its jargon."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from paploss.jobs.suggestions import did_you_mean
from paploss.jobs.wording import counted

Fault = Mapping[str, Any]
"""One of `pydantic.ValidationError.errors()`."""

LONGEST_SHOWN = 80

_EXPECTED = {
    "bool": "true or false",
    "date": "a date",
    "dict": "keys with values",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "keys with values",
    "string": "text",
    "tuple": "a list",
    "finite": "a finite number",
}
"""By the beginning of an error's type, such as `int_parsing`."""


def describe_faults(error: ValidationError, model: Any = None, source: str = "") -> str:
    """A line for each fault of a document: the file that is its `source`, the place, and what `describe_fault` says."""
    lines = []
    for fault in without_echoes(error.errors()):
        place = ".".join(map(str, fault["loc"]))
        lines.append(": ".join(filter(None, (source, place, describe_fault(fault, model)))))
    return "\n".join(lines)


def without_echoes(faults: Sequence[Fault]) -> list[Fault]:
    """The faults without those that follow from others: pydantic counts only those items of a list that are sound."""
    parents = {tuple(fault["loc"][:depth]) for fault in faults for depth in range(len(fault["loc"]))}
    return [fault for fault in faults if fault["type"] != "too_short" or tuple(fault["loc"]) not in parents]


def describe_fault(fault: Fault, model: Any = None) -> str:
    """A sentence without the field's name; with what was given, where that is short.

    Args:
        fault: one error.
        model: the model, or the union of models, that the document was read as; with it an unknown key is answered with
            the known one that is most like it.
    """
    kind, context = str(fault["type"]), fault.get("ctx", {})
    known = _SENTENCES.get(kind)
    if known is not None:
        message = known(context)
    elif kind == "extra_forbidden":
        *place, key = fault["loc"]
        return f"unknown key{did_you_mean(str(key), _known_keys(model, place))}"
    elif (expected := _EXPECTED.get(kind.partition("_")[0])) is not None:
        message = f"expected {expected}"
    else:
        message = str(fault["msg"]).removeprefix("Value error, ")
    return message + _describe_given(kind, fault.get("input"), context)


def _describe_given(kind: str, given: Any, context: Mapping[str, Any]) -> str:
    if kind in ("missing", "value_error", "union_tag_not_found"):
        return ""
    if kind == "union_tag_invalid":
        given = context["tag"]
    if kind in ("too_short", "too_long"):
        return f", got {context['actual_length']}"
    if isinstance(given, dict | list | tuple):
        return f", got {'keys with values' if isinstance(given, dict) else 'a list'}"
    if not isinstance(given, str | int | float | None) or len(str(given)) > LONGEST_SHOWN:
        return ""
    if not isinstance(given, str) or "expected" not in context:
        return f", got {given!r}"
    alternatives = [part.strip("'") for part in str(context["expected"]).replace(" or ", ", ").split(", ")]
    return f", got {given!r}{did_you_mean(given, alternatives)}"


_SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "is missing",
    "literal_error": lambda context: f"expected one of {_join(context)}",
    "enum": lambda context: f"expected one of {_join(context)}",
    "union_tag_invalid": lambda context: f"expected one of {context['expected_tags']}",
    "union_tag_not_found": lambda _: "is missing",
    "greater_than": lambda context: f"expected more than {context['gt']:.10g}",
    "greater_than_equal": lambda context: f"expected {context['ge']:.10g} or more",
    "less_than": lambda context: f"expected less than {context['lt']:.10g}",
    "less_than_equal": lambda context: f"expected {context['le']:.10g} or less",
    "string_pattern_mismatch": lambda context: f"expected text that matches {context['pattern']}",
    "string_too_short": lambda context: f"expected {counted(context['min_length'], 'character')} or more",
    "string_too_long": lambda context: f"expected {counted(context['max_length'], 'character')} or fewer",
    "too_short": lambda context: f"expected {counted(context['min_length'], 'value')} or more",
    "too_long": lambda context: f"expected {counted(context['max_length'], 'value')} or fewer",
}


def _join(context: Mapping[str, Any]) -> str:
    return str(context["expected"]).replace(" or ", ", ")


def _known_keys(model: Any, place: Sequence[str | int]) -> list[str]:
    """Names of the fields at `place`, where a union's tag chooses the member; indices of lists are passed over."""
    models = set(_models_in(model))
    for key in place:
        inner = [one.model_fields[key].annotation for one in models if isinstance(key, str) and key in one.model_fields]
        tagged = {one for one in models if any(field.default == key for field in one.model_fields.values())}
        models = {found for annotation in inner for found in _models_in(annotation)} or tagged or models
    return sorted({name for one in models for name in one.model_fields})


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
