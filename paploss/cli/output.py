"""Output that is text and nothing else, without a library for terminals: lines for programs and people."""

import json
import re
import sys
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: object) -> str:
    """The text with control characters, which a terminal would obey, replaced; line breaks and tabs stay."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text))


def echo(text: object) -> None:
    """Print a line as it is, never wrapped: ids, paths and the like, which programs read too."""
    sys.stdout.write(f"{plain(text)}\n")


def echo_json(content: Any) -> None:
    """Print a value as JSON of ASCII characters alone, which no locale can spoil; models may be anywhere in it."""
    sys.stdout.write(f"{json.dumps(content, default=lambda model: model.model_dump(mode='json'))}\n")


def tell(as_json: bool, content: Any, text: object) -> None:
    """Print the content for a program, or the text for a person."""
    if as_json:
        echo_json(content)
    else:
        echo(text)


def prepare_streams() -> None:
    """Have output fall back on `?` and escapes where the locale's encoding lacks a character: work that is done must
    not be lost because it cannot be told."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
