"""A form for any of our requests, made from its JSON schema, so that the form always asks for what the request has.

A field's name is the path of its key (`confirm.seeds`). What a person typed stays text until the request's own model
reads it: nothing is lost when the form comes back with errors.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

Schema = Mapping[str, Any]
Typed = Mapping[str, str]
"""What is in the fields, by path; a field without an entry is empty."""


@dataclass(frozen=True)
class Field:
    """One input."""

    path: str
    label: str
    kind: Literal["text", "number", "choice", "switch", "yaml"]
    """`yaml`: a text or a mapping, as in a specification."""
    help: str
    default: str
    """As text; empty where the schema has none, or null."""
    required: bool
    optional_group: bool
    """Whether it belongs to an object that may be left out as a whole: its default is then shown, not filled in."""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    step: Literal["1", "any"] = "any"

    @property
    def id(self) -> str:
        """The input's id in the page."""
        return self.path.replace(".", "-")


def list_fields(schema: Schema) -> list[Field]:
    """The inputs of an object's schema (as `model_json_schema` gives it) in order, those of nested objects too."""
    return list(_walk(schema, schema.get("$defs", {}), prefix="", default={}, optional=False))


def default_values(fields: Sequence[Field]) -> dict[str, str]:
    """What an untouched form holds."""
    return {field.path: field.default for field in fields if not field.optional_group}


def flatten(document: Mapping[str, Any], fields: Sequence[Field], prefix: str = "") -> dict[str, str]:
    """A request as the form of `fields` holds it: text by path, without what is null."""
    whole = {field.path for field in fields if field.kind == "yaml"}
    found: dict[str, str] = {}
    for key, value in document.items():
        path = prefix + key
        if isinstance(value, Mapping) and path not in whole:
            found |= flatten(value, fields, f"{path}.")
        elif isinstance(value, Mapping):
            found[path] = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).strip()
        elif value is not None:
            found[path] = _text(value)
    return found


def _text(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return json.dumps(value) if isinstance(value, bool | list) else str(value)


def read_values(fields: Sequence[Field], typed: Typed) -> dict[str, Any]:
    """The request that was typed, for its model to check: nested, without what was left empty.

    Whole numbers become numbers here, because a choice among numbers takes no text; any other text stays as it is.
    """
    document: dict[str, Any] = {}
    for field in fields:
        text = typed.get(field.path, "").strip()
        if text == "":
            continue
        *parents, key = field.path.split(".")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = _read(text, field)
    return document


def _read(text: str, field: Field) -> Any:
    if field.kind == "switch":
        return text == "true"
    if field.kind == "yaml":
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:  # the model says what was expected
            return text
    is_whole = field.step == "1" and text.removeprefix("-").isdecimal() and len(text) < 19
    return int(text) if is_whole else text


def _walk(
    schema: Schema, definitions: Schema, *, prefix: str, default: Mapping[str, Any], optional: bool
) -> Iterator[Field]:
    required = schema.get("required", ())
    for name, raw in schema["properties"].items():
        kind, nullable = _resolve(raw, definitions)
        preset = default.get(name, raw.get("default"))
        path = prefix + name
        if "discriminator" in kind:
            yield from _walk_union(path, kind, raw, definitions, preset)
        elif "properties" in kind:
            inner = preset if isinstance(preset, Mapping) else {}
            is_optional = optional or nullable
            yield from _walk(kind, definitions, prefix=f"{path}.", default=inner, optional=is_optional)
        else:
            yield _field(path, kind, raw, preset, required=name in required and not optional, optional=optional)


def _walk_union(path: str, kind: Schema, raw: Schema, definitions: Schema, preset: Any) -> Iterator[Field]:
    """A choice of the member, then the settings of every member: what is left empty keeps the member's default."""
    tag = kind["discriminator"]["propertyName"]
    members = {
        name: definitions[reference.rpartition("/")[2]] for name, reference in kind["discriminator"]["mapping"].items()
    }
    chosen = preset.get(tag) if isinstance(preset, Mapping) else preset
    choice = {"enum": list(members), "type": "string"}
    yield _field(f"{path}.{tag}", choice, raw, chosen, required=False, optional=False)
    for name, member in members.items():
        for setting, schema in member["properties"].items():
            if setting != tag:
                described = {**schema, "description": f"for {name}: {schema.get('description', '')}".strip(": ")}
                inner, _ = _resolve(schema, definitions)
                yield _field(
                    f"{path}.{setting}", inner, described, schema.get("default"), required=False, optional=True
                )


def _field(path: str, kind: Schema, raw: Schema, preset: Any, *, required: bool, optional: bool) -> Field:
    is_number = kind.get("type") in ("integer", "number")
    choices = tuple(str(choice) for choice in kind.get("enum", ()))
    is_switch = kind.get("type") == "boolean" and not optional
    shape: Literal["text", "number", "choice", "switch", "yaml"] = "number" if is_number else "text"
    if "oneOf" in kind:
        shape = "yaml"
    if choices:
        shape = "choice"
    if is_switch:
        shape = "switch"
    return Field(
        path=path,
        label=_label(path),
        kind=shape,
        help=raw.get("description", ""),
        default="" if preset is None else str(preset).lower() if isinstance(preset, bool) else str(preset),
        required=required,
        optional_group=optional,
        choices=choices,
        minimum=kind.get("minimum", kind.get("exclusiveMinimum")),
        maximum=kind.get("maximum", kind.get("exclusiveMaximum")),
        step="1" if kind.get("type") == "integer" or (choices and all(c.isdecimal() for c in choices)) else "any",
    )


def _label(path: str) -> str:
    """`dataset.train.images` as "Train images": without the group, whose heading says it."""
    words = " ".join(path.split(".")[1:] or [path]).replace("_", " ").replace("gpus", "GPUs")
    return words[0].upper() + words[1:]


def _resolve(raw: Schema, definitions: Schema) -> tuple[Schema, bool]:
    """The schema behind a reference or beside null, and whether null is allowed."""
    nullable = False
    if "anyOf" in raw:
        nullable = any(part.get("type") == "null" for part in raw["anyOf"])
        parts = [part for part in raw["anyOf"] if part.get("type") != "null"]
        raw = next((part for part in parts if "discriminator" in part), parts[0])
    if "$ref" in raw:
        raw = definitions[raw["$ref"].rpartition("/")[2]]
    return raw, nullable
