import pytest

from paploss.jobs.wording import counted


@pytest.mark.parametrize(("number", "words"), [(0, "0 fresh seeds"), (1, "1 fresh seed"), (2, "2 fresh seeds")])
def test_one_alone_is_singular(number: int, words: str) -> None:
    assert counted(number, "fresh seed") == words
