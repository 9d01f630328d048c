"""Lines of CSV that are safe to open as a spreadsheet."""

import csv
import io
from collections.abc import Sequence

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def csv_line(values: Sequence[object]) -> str:
    """One line with its end; none is an empty cell.

    Names and errors are what users and programs wrote. A text that a spreadsheet would take for a formula gets an
    apostrophe before it, which makes it text there.
    """
    text = io.StringIO()
    csv.writer(text).writerow([_cell(value) for value in values])
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return "" if value is None else value
