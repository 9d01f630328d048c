"""How numbers are written for people."""

from itertools import pairwise


def counted(number: int, unit: str) -> str:
    """How many there are of what: "1 image", "2 images", "2 losses"; for units whose plural is regular."""
    if number == 1:
        return f"{number} {unit}"
    return f"{number} {unit}es" if unit.endswith("s") else f"{number} {unit}s"


def duration(seconds: float | None) -> str:
    """A duration in its two largest units: "1 h 20 min". A dash where there is none."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (large, size), (small, part) in pairwise(units):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {large} {rest} {small}" if rest else f"{whole // size} {large}"
    return f"{whole} s"
