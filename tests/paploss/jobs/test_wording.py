import pytest

from paploss.jobs.wording import counted


@pytest.mark.parametrize(("number", "words"), [(0, "0 fresh seeds"), (1, "1 fresh seed"), (2, "2 fresh seeds")])
def test_one_alone_is_singular(number: int, words: str) -> None:
    assert counted(number, "fresh seed") == words


def test_a_unit_that_ends_in_s_has_its_own_plural() -> None:
    assert (counted(1, "loss"), counted(2, "loss")) == ("1 loss", "2 losses")
