"""Numbers from files."""

import sys
from typing import Any


def is_number(value: Any) -> bool:
    """Whether `value` is a number that float64 holds, neither infinite nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
