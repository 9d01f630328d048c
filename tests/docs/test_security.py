"""SECURITY.md names, for each promise, tests that are there."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_every_promise_names_tests_that_exist() -> None:
    rows = re.findall(r"^\| (?!promise|---)(.*) \| (.*) \|$", (TESTS.parent / "SECURITY.md").read_text(), re.MULTILINE)
    assert len(rows) > 10
    for promise, cell in rows:
        folder = Path()
        for name in re.findall(r"`([\w/]+\.py)`", cell):
            folder = Path(name).parent if "/" in name else folder  # a bare name lies beside the one before it
            assert (TESTS / folder / Path(name).name).is_file(), (promise, name)
        assert folder != Path(), promise
