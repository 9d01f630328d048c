"""How numbers are written for people."""


def counted(number: int, unit: str) -> str:
    """How many there are of what: "1 image", "2 images", "2 losses"; for units whose plural is regular."""
    if number == 1:
        return f"{number} {unit}"
    return f"{number} {unit}es" if unit.endswith("s") else f"{number} {unit}s"
