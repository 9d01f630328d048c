"""Extreme values where programs expect ordinary ones, for documents as JSON."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

INFINITY, NAN = float("inf"), float("nan")
NUMBERS = (
    *(INFINITY, -INFINITY, NAN, 10**400, -(10**400), 1e308, -1e308, 5e-324, -0.0, 2**63, -(2**63), 2**31, -1, 0),
    *(1e18, 253402300800, 1.5),
)
TEXTS = (
    *("", " ", "\0", "a\0b", "\ud800", "\x1b[31m\r\nERROR forged", "\u202e\u2066", "x" * 100_000, "é" * 300, "NaN"),
    *("../../etc/passwd", "/", "'; DROP TABLE trials; --", "<script>alert(1)</script>", "{{7*7}}", "%s%n", "-"),
)
EXTREMES = (
    *(NUMBERS + TEXTS),
    *(None, True, [], {}, [[]], {"": ""}, {"\0": 1}, [None] * 3000, {str(number): 0.5 for number in range(3000)}),
)


def find_places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The ways to everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*place, key)
        yield from find_places(each, (*place, key))


def bounded(examples: int) -> settings:
    """The same so many examples on every run."""
    return settings(
        max_examples=examples,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def spoilt(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """A document with one or two extreme values in it, at any depth."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(sorted(find_places(changed), key=str)))
        inner = changed
        for key in way:
            inner = inner[key]
        inner[last] = copy.deepcopy(draw(st.sampled_from(EXTREMES)))
        if isinstance(inner, dict) and draw(st.integers(0, 9)) == 0:
            inner["of_no_model"] = draw(st.sampled_from(EXTREMES))
    return changed


def write(document: Any) -> str:
    """As JSON; what JSON has no infinity for is a number that reads as one."""
    return json.dumps(document).replace("Infinity", "1e400")
