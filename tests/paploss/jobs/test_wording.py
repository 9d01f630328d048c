import pytest

from paploss.jobs.wording import counted, duration


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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (100, "1 min 40 s"),
        (3600, "1 h"),
        (4800, "1 h 20 min"),
        (3659, "1 h"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_have_two_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
