"""How numbers are written for people."""


def counted(number: int, unit: str) -> str:
    """How many there are of what: "1 image", "2 images"; for units whose plural is an s more."""
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
