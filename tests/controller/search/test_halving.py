"""How many trainings are promoted, whatever the order in which they end."""

import random
from dataclasses import replace

import pytest

from paploss.controller.search.halving import Rung, count_due

LENGTHS = (0.25, 0.5, 1.0)


@pytest.mark.parametrize(
    ("rungs", "expected"),
    [
        ({}, {}),
        ({0.25: Rung(2, 2)}, {}),
        ({0.25: Rung(3, 3)}, {0.25: 1}),
        ({0.25: Rung(7, 7), 0.5: Rung(0, 0, promotions=1)}, {0.25: 1}),
        ({0.25: Rung(9, 9), 0.5: Rung(3, 3, promotions=3)}, {0.5: 1}),
        ({0.25: Rung(9, 9), 0.5: Rung(3, 3, promotions=3), 1.0: Rung(1, 1, promotions=1)}, {}),
        ({0.25: Rung(9, 2), 0.5: Rung(1, 1, promotions=1)}, {0.25: 1}),  # seven have diverged
        ({0.25: Rung(9, 0)}, {}),
        ({1.0: Rung(100, 100)}, {}),
    ],
)
def test_one_in_three_goes_on_unless_it_has_diverged(rungs: dict[float, Rung], expected: dict[float, int]) -> None:
    assert count_due(rungs, LENGTHS, 3) == expected


def test_the_greatest_length_comes_first() -> None:
    due = count_due({0.25: Rung(6, 6), 0.5: Rung(3, 3, promotions=1)}, LENGTHS, 3)
    assert list(due.items()) == [(0.5, 1), (0.25, 1)]


@pytest.mark.parametrize("seed", range(20))
def test_in_whatever_order_trainings_end_each_length_has_its_share_at_every_moment(seed: int) -> None:
    """Some end without a reward, some have diverged, and what is due is sometimes carried out late."""
    draw = random.Random(seed)
    keep = draw.randint(2, 5)
    rungs = {length: Rung(0, 0) for length in LENGTHS}
    under_way = [LENGTHS[0]] * 60
    while under_way:
        length = under_way.pop(draw.randrange(len(under_way)))
        rung = rungs[length]
        if (outcome := draw.random()) > 0.1:
            rungs[length] = replace(rung, ended=rung.ended + 1, able=rung.able + (outcome > 0.2))
        if under_way and draw.random() < 0.5:
            continue
        for at, count in count_due(rungs, LENGTHS, keep).items():
            longer = LENGTHS[LENGTHS.index(at) + 1]
            rungs[longer] = replace(rungs[longer], promotions=rungs[longer].promotions + count)
            under_way += [longer] * count
            assert rungs[longer].promotions == min(rungs[at].ended // keep, rungs[at].able)
        assert count_due(rungs, LENGTHS, keep) == {}
