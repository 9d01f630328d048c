"""The sentence of a race, from its standing."""

import pytest

from paploss.controller.experiments.verdict import deliver
from paploss.controller.search.race import Lead, Standing


def lead(label: str, mean: float, *, is_decided: bool = False) -> Lead:
    return Lead(label, mean, (mean - 0.01, mean + 0.01), 3, is_decided)


@pytest.mark.parametrize(
    ("leads", "sentence"),
    [
        ([lead("b", 0.0)], "a is level with b (-1.0 to +1.0);"),
        (
            [lead("b", 0.005), lead("c", 0.0)],
            "a is ahead of b by 0.5 AP (-0.5 to +1.5) and level with c (-1.0 to +1.0);",
        ),
        (
            [lead("b", 0.0), lead("c", 0.05, is_decided=True)],
            "a is level with b (-1.0 to +1.0); better than c by 5.0 AP (+4.0 to +6.0);",
        ),
    ],
)
def test_a_tie_is_called_one(leads: list[Lead], sentence: str) -> None:
    standing = Standing("a", tuple(leads), ("a", *(one.label for one in leads)), more_seeds=None)
    told = deliver(standing, 3).sentence
    assert (
        told
        == f"Not decided over 3 common seeds: {sentence} how many more seeds it would take cannot be told from these."
    )
