import pytest

from paploss.jobs.wording import counted


@pytest.mark.parametrize(
    ("number", "unit", "words"),
    [
        (0, "fresh seed", "0 fresh seeds"),
        (1, "fresh seed", "1 fresh seed"),
        (2, "fresh seed", "2 fresh seeds"),
        (1, "loss", "1 loss"),
        (2, "loss", "2 losses"),
    ],
)
def test_one_alone_is_singular(number: int, unit: str, words: str) -> None:
    assert counted(number, unit) == words
