"""The tiers of tests that CI runs are together all of them, and no test is in two."""

import itertools
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
WITHOUT_A_TIER = {"browser"}
"""Markers that say what a test needs, and not when it runs."""


def tiers() -> dict[str, str]:
    """What `pytest -m` is given by each target that CI makes."""
    recipes = dict(re.findall(r"^(test[\w-]*):.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = set(re.findall(r"[\w-]+", (ROOT / ".ci" / "run").read_text())) & set(recipes)
    return {target: re.findall(r'pytest -m "?([^"]+)', recipes[target])[0] for target in made}


def test_whatever_its_markers_a_test_runs_in_ci_exactly_once() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    markers = {line.partition(":")[0] for line in options["markers"]} - WITHOUT_A_TIER
    for values in itertools.product([False, True], repeat=len(markers)):
        chosen = dict(zip(markers, values, strict=True))
        selecting = [target for target, given in tiers().items() if eval(given, {}, chosen)]  # noqa: S307
        assert len(selecting) == 1, (chosen, selecting)
