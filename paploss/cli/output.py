"""Output that is text and nothing else, without a library for terminals: lines for programs and people."""

import re
import sys

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: object) -> str:
    """The text with control characters, which a terminal would obey, replaced; line breaks and tabs stay."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text))


def echo(text: object) -> None:
    """Print a line as it is, never wrapped: ids, paths and the like, which programs read too."""
    sys.stdout.write(f"{plain(text)}\n")


def prepare_streams() -> None:
    """Have output fall back on `?` and escapes where the locale's encoding lacks a character: work that is done must
    not be lost because it cannot be told."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
