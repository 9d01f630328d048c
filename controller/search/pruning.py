"""Which trials are hopeless: a threshold on the AP of a trial in the middle of its training.

A threshold comes from the other trials of the same search that measured their AP at the same share of their iterations.
It is half their median. A plain median rule (as in Google Vizier and Optuna) would stop every second trial, among them
good ones that a late start or evaluation noise put just below the middle; the factor keeps the rule from touching a
trial that may still end in the better half. In the reference search good trials stand at about half their final AP at
mid-training and hopeless ones near 0: of its twelve random samples the rule stops the five that end at 2 AP or less.
Where more than half of the comparators measured 0, the threshold is 0 and nothing is stopped.
"""

from collections.abc import Sequence

import numpy as np

MIN_COMPARATORS = 5
MEDIAN_SHARE = 0.5


def threshold(aps: Sequence[float]) -> float | None:
    """The AP below which a trial is stopped, from `aps`, what the others measured at the same point.

    Args: the APs [n], in the unit of the result, pruned and finished trials alike. The trial itself is not among them.
    Returns: None where fewer than 5 trials have measured.
    Raises: ValueError where an AP is not finite.
    """
    for index, ap in enumerate(aps):
        if not np.isfinite(ap):
            raise ValueError(f"aps[{index}]: expected a finite number, got {ap}")
    if len(aps) < MIN_COMPARATORS:
        return None
    return MEDIAN_SHARE * float(np.median(aps))
