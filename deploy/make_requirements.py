"""Write the pinned requirements of the images: what each needs of requirements.lock, with everything below it.

Run it in the development environment after the lock has changed: `python deploy/make_requirements.py`. The images then
install exactly these versions, without resolving anything, and hold none of the development tools. What is heavy has
files of its own, so that an image's layer of torch, or of mmcv's operators, is built anew only when its own versions
change.
"""

import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
IMAGES = {"controller": ("controller", "mlflow", "tensorboard"), "worker": ("trainer", "worker")}
"""Extras of pyproject.toml that each image holds."""
REPLACED = {"opencv-python": "opencv-python-headless"}
"""What is served by another package: the headless build needs no display library."""
BUILT_FIRST = {"torch", "mmcv"}
"""Installed by steps of their own in the Dockerfile."""
TORCH = ("torch", "setuptools", "wheel", "ninja", "psutil")
"""torch, and what builds mmcv beside it."""
FILES = (*IMAGES, "torch", "mmcv")


def read_lock() -> dict[str, str]:
    """Lines of the lock by canonical name."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return {canonicalize_name(line.partition("==")[0]): line for line in lines if line and not line.startswith("#")}


def list_requirements(file: str) -> list[str]:
    """The lock's lines that a file of FILES holds, in the lock's order.

    Raises:
        KeyError: the lock lacks a package that another one needs.
    """
    lock = read_lock()
    if file == "mmcv":
        return [lock["mmcv"]]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    if file == "torch":
        open_ones = [Requirement(name) for name in TORCH]
    else:
        open_ones = [Requirement(line) for extra in IMAGES[file] for line in extras[extra]]
    needed: set[tuple[str, str]] = set()
    while open_ones:
        requirement = open_ones.pop()
        name = canonicalize_name(REPLACED.get(requirement.name, requirement.name))
        for extra in ("", *requirement.extras):
            if (name, extra) in needed:
                continue
            needed.add((name, extra))
            if name == "paploss":
                open_ones += [Requirement(line) for line in extras.get(extra, ())]
            else:
                open_ones += _dependencies(name, extra)
    names = {name for name, _ in needed} - {"paploss"}
    if missing := names - lock.keys():
        raise KeyError(f"requirements.lock lacks {sorted(missing)}, which {file} needs")
    built_first = BUILT_FIRST if file in IMAGES else set()
    return [line for name, line in lock.items() if name in names - built_first]


def _dependencies(name: str, extra: str) -> Iterator[Requirement]:
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def render(file: str) -> str:
    """The text of a file."""
    return "\n".join([f"# Made by deploy/make_requirements.py for {file}.", *list_requirements(file), ""])


if __name__ == "__main__":
    for file in FILES:
        (ROOT / "deploy" / "requirements" / f"{file}.txt").write_text(render(file))
