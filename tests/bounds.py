"""Which places of a JSON schema set no limit."""

import re
from collections.abc import Iterator
from typing import Any

LIMITS = {
    "integer": ({"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}),
    "number": ({"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}),
    "string": ({"maxLength", "format"},),
    "array": ({"maxItems"},),
}
LIMITING_PATTERN = re.compile(r"^\^\[[^\]]+\]\{\d+,\d+\}\$$")
"""So many of some characters, and nothing else."""


def unbounded(schema: Any, place: str = "") -> Iterator[str]:
    """Places in a JSON schema that set no limit."""
    if isinstance(schema, list):
        for number, part in enumerate(schema):
            yield from unbounded(part, f"{place}/{number}")
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    for ways in LIMITS.get(kind, ()) if isinstance(kind, str) else ():
        if not (ways | {"const", "enum"}) & schema.keys() and not LIMITING_PATTERN.search(schema.get("pattern", "")):
            yield place
    if kind == "object" and "properties" not in schema and schema.get("additionalProperties", True) is not False:
        yield from () if "maxProperties" in schema else (place,)
        yield from () if "propertyNames" in schema else (f"{place}: keys",)
    for key, part in schema.items():
        if key not in {"default", "examples", "enum", "const", "discriminator"}:
            yield from unbounded(part, f"{place}/{key}")
