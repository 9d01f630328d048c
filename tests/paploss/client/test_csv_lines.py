"""A cell is what was meant, also where a spreadsheet would compute it."""

import pytest

from paploss.client.csv_lines import csv_line


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_texts_that_look_like_formulas_become_text(text: str) -> None:
    assert csv_line([text, "a"]).lstrip('"').startswith(f"'{text}")


def test_numbers_stay_numbers_and_none_is_empty() -> None:
    assert csv_line([-0.5, 3, None, "a,b", "plain"]) == '-0.5,3,,"a,b",plain\r\n'
