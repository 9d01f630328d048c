"""Writes the pages of docs/reference that follow from the program: its HTTP interface, commands and settings.

    python docs/make_reference.py

Nothing is started and nothing is asked over the network. `make docs` runs it; the pages are not kept in git.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings
from typer.main import get_command

from paploss.cli.failures import EXIT_STATUSES
from paploss.cli.main import app
from paploss.controller.api.app import ROUTERS
from paploss.controller.api.reference import DescribedApp
from paploss.controller.settings import Settings as ControllerSettings
from paploss.worker.settings import Settings as WorkerSettings

FOLDER = Path(__file__).resolve().parent / "reference"
EXAMPLE = """
With `paploss up` on this machine, a search is started, followed and read like this:

```bash
KEY=$(cat state/keys/admin)
URL=http://127.0.0.1:8080/api/v1/experiments
curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" $URL \\
  -d '{"kind": "search", "name": "first", "profile": "synthetic", "rounds": 2}'
curl -H "Authorization: Bearer $KEY" "$URL?state=running"
curl -H "Authorization: Bearer $KEY" $URL/ID
curl -H "Authorization: Bearer $KEY" $URL/ID/best
```
"""
NOTE = "<!-- Made by docs/make_reference.py. -->"


def describe_api() -> str:
    """The HTTP interface, from its OpenAPI document."""
    application = DescribedApp(title="paploss controller")
    for router in ROUTERS:
        application.include_router(router)
    document = application.openapi()
    lines = [
        NOTE,
        "# HTTP interface",
        "",
        "A running controller has the same as an OpenAPI document at `/openapi.json`, and to try out at `/docs`. Every",
        "request but probes and signing in carries a key as `Authorization: Bearer KEY`. Every error is a problem",
        "document (RFC 9457, `application/problem+json`) that names the field at fault. Lists come in pages: ask again",
        "with `cursor=next_cursor`.",
        "",
        EXAMPLE.strip(),
    ]
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            section = _describe_operation(f"{method.upper()} {path}", operation)
            by_tag.setdefault(operation["tags"][0], []).extend(section)
    for tag, sections in by_tag.items():
        lines += ["", f"## {tag.capitalize()}", *sections]
    lines += ["", "## Models"]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += _describe_model(name, schema)
    return "\n".join(lines) + "\n"


def _describe_operation(name: str, operation: dict[str, Any]) -> list[str]:
    lines = ["", f"### {name}", "", operation["description"]]
    parameters = [_parameter(parameter) for parameter in operation.get("parameters", ())]
    if parameters:
        lines += ["", "| parameter | in | type | |", "|---|---|---|---|", *parameters]
    body = operation.get("requestBody", {}).get("content", {})
    lines += ["", *(f"Body: {_type(content.get('schema', {}))}." for content in body.values())]
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            kinds = [_type(content.get("schema", {})) for content in response.get("content", {}).values()]
            lines += ["", f"Answer {status}: {', '.join(kinds) or 'nothing'}."]
    return lines


def _parameter(parameter: dict[str, Any]) -> str:
    needed = "" if parameter.get("required") else ", optional"
    meaning = parameter.get("description", "")
    return f"| `{parameter['name']}` | {parameter['in']} | {_type(parameter['schema'])}{needed} | {_cell(meaning)} |"


def _describe_model(name: str, schema: dict[str, Any]) -> list[str]:
    lines = ["", f"### {name}", "", schema.get("description", "")]
    required = schema.get("required", ())
    rows = [
        f"| `{field}` | {_type(kind)} | {'required' if field in required else _default_of(kind)} "
        f"| {_cell(kind.get('description', ''))} |"
        for field, kind in schema.get("properties", {}).items()
    ]
    return lines + (["", "| field | type | default | |", "|---|---|---|---|", *rows] if rows else [])


def _default_of(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    return "" if value in (None, "", [], {}) else f"`{json.dumps(value)}`"


def _type(schema: dict[str, Any]) -> str:
    """A schema in few words, with links to models."""
    match schema:
        case {"$ref": address}:
            name = address.rpartition("/")[2]
            words = f"[{name}](#{_anchor(name)})"
        case {"anyOf": choices} | {"oneOf": choices}:
            words = " or ".join(map(_type, choices))
        case {"enum": values}:
            words = " or ".join(f"`{value}`" for value in values)
        case {"const": value}:
            words = f"`{value}`"
        case {"type": "array", "items": items} | {"type": "array", "prefixItems": [items, *_]}:
            words = f"list of {_type(items)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            words = f"object of {_type(values)}"
        case _:
            words = str(schema.get("format") or schema.get("type") or "any value")
    return words


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def describe_commands() -> str:
    """The command line, from the commands themselves."""
    lines = [
        NOTE,
        "# Command line",
        "",
        "`paploss --install-completion` makes the shell complete commands, options, and ids of the controller at hand.",
        "Every command that ends takes `--json` and then prints one JSON document, and nothing else, on standard",
        "output.",
        "",
        "| exit status | meaning |",
        "|---|---|",
        *(
            f"| {status} | {meaning} |"
            for status, meaning in re.findall(r"(\d+) ([^;.]+)", EXIT_STATUSES.partition(":")[2])
        ),
    ]
    for name, command in _commands(get_command(app), "paploss"):
        arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
        usage = " ".join([name, *(_placeholder(argument) for argument in arguments), "[OPTIONS]" if options else ""])
        lines += ["", f"## {name}", "", _paragraphs(command.help or ""), "", f"    {usage.strip()}"]
        rows = [f"| `{_placeholder(a)}` | {_cell(getattr(a, 'help', '') or '')} |" for a in arguments]
        rows += [f"| `{', '.join(o.opts)}` | {_cell(o.help or '')} |" for o in options if not o.hidden]
        lines += ["", "| | |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def _placeholder(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def describe_settings() -> str:
    """The settings of both programs, from their models."""
    lines = [
        NOTE,
        "# Settings",
        "",
        "From the environment, or from files named after the variables in the folder `PAPLOSS_SECRETS_DIR`. Durations",
        "are in seconds.",
    ]
    for title, settings in (("Controller", ControllerSettings), ("Worker", WorkerSettings)):
        lines += ["", f"## {title}", "", "| variable | default | |", "|---|---|---|", *_settings_rows(settings)]
    return "\n".join(lines) + "\n"


def _settings_rows(settings: type[BaseSettings]) -> Iterator[str]:
    for name, field in settings.model_fields.items():
        default = "" if field.is_required() or field.default_factory else _default(field.default)
        yield f"| `PAPLOSS_{name.upper()}` | {default} | {_cell(field.description or '')} |"


def _default(value: object) -> str:
    return "" if value in (None, "", ()) else f"`{value}`"


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    pages = {"api": describe_api, "command-line": describe_commands, "settings": describe_settings}
    for name, describe in pages.items():
        (FOLDER / f"{name}.md").write_text(describe())


if __name__ == "__main__":
    main()
