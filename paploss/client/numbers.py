"""How results are written for people, the same on terminals, pages, figures, in reports and in sentences.

In percent, with one decimal; with two where everything that stands together is below 1 %, or 0.4 and 0.36 would look
alike. What follows ± is always the standard deviation over seeds; a 95 % interval stands in brackets.
"""

import math
from collections.abc import Mapping
from typing import Any


def percent(fraction: float | None) -> str:
    """An AP in [0, 1]: "39.6", "0.42"; a dash where there is none."""
    return "–" if fraction is None or fraction < 0 else f"{100 * fraction:.{_decimals(fraction)}f}"


def mean_and_deviation(mean: float | None, deviation: float | None) -> str:
    """ "39.6 ± 0.9", both with the decimals of the mean; the mean alone where one seed has no deviation."""
    if mean is None or deviation is None:
        return percent(mean)
    return f"{percent(mean)} ± {100 * deviation:.{_decimals(mean)}f}"


def difference(mean: float, interval: tuple[float, float] | None) -> str:
    """ "+2.1 (+0.9 to +3.4)": of two APs, with its 95 % interval where there is one."""
    decimals = _decimals(mean, *(interval or ()))
    texts = [f"{100 * value:+.{decimals}f}" for value in (mean, *(interval or ()))]
    return f"{texts[0]} ({texts[1]} to {texts[2]})" if interval else texts[0]


def confirmed(report: Mapping[str, Any]) -> str:
    """Mean and standard deviation of a loss that a search has confirmed, from the report of its best, or a part of
    it. The report has the standard error of the mean: the deviation divided by the root of the number of seeds."""
    error, count = report.get("standard_error"), report.get("count") or len(report.get("rewards") or ())
    return mean_and_deviation(report.get("mean"), None if error is None else error * math.sqrt(count))


def hours(value: float | None) -> str:
    """Of workers or GPUs: "1,234", "12.5", "0.34", "under 0.01"; a dash where they are not known."""
    if value is None:
        return "–"
    if 0 < value < 0.01:
        return "under 0.01"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 1 else f"{value:.2g}"


def hours_range(least: float | None, most: float | None) -> str:
    """ "18.1 to 30.7"; the first alone where both are the same, or nothing is known of the other."""
    texts = dict.fromkeys(hours(value) for value in (least, most) if value is not None)
    return " to ".join(texts) or hours(None)


def _decimals(*fractions: float) -> int:
    return 2 if 0 < max(map(abs, fractions)) < 0.01 else 1
