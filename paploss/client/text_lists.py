"""Lists in requests, which forms and command lines have as one line of text."""

import json
from typing import Any


def read_list(given: Any) -> Any:
    """The list that a line of text stands for; anything else as it is.

    Raises:
        ValueError: the text begins as a list in JSON and is none.
    """
    if not isinstance(given, str):
        return given
    if given.startswith("["):
        try:
            return json.loads(given)
        except ValueError:
            raise ValueError("expected values with commas between them, or a list in JSON") from None
    return () if given == "none" else [value.strip() for value in given.split(",")]
