"""The sentence of a race, from its standing."""

import numpy as np
import pytest

from paploss.controller.experiments.verdict import deliver
from paploss.controller.search.race import Lead, Standing, judge, plan_next


def lead(label: str, mean: float, *, beaten_by: str | None = None, seeds: int = 3) -> Lead:
    return Lead(label, mean, (mean - 0.01, mean + 0.01), seeds, beaten_by)


def decided(*leads: Lead, seeds: int) -> str:
    return deliver(Standing("a", leads, ("a",), more_seeds=0), seeds).sentence


@pytest.mark.parametrize(
    ("leads", "sentence"),
    [
        ([lead("b", 0.0)], "a is level with b (-1.0 to +1.0);"),
        (
            [lead("b", 0.005), lead("c", 0.0)],
            "a is ahead of b by 0.5 AP (-0.5 to +1.5) and level with c (-1.0 to +1.0);",
        ),
        (
            [lead("b", 0.0), lead("c", 0.05, beaten_by="a")],
            "a is level with b (-1.0 to +1.0); better than c by 5.0 AP (+4.0 to +6.0);",
        ),
    ],
)
def test_a_tie_is_called_one(leads: list[Lead], sentence: str) -> None:
    standing = Standing("a", tuple(leads), ("a", *(one.label for one in leads)), more_seeds=None)
    verdict = deliver(standing, 3)
    assert (verdict.use, verdict.is_decided, verdict.seeds) == ("a", False, 3)
    assert (
        verdict.sentence == f"Not decided over 3 common seeds: {sentence} "
        "how many more seeds it would take cannot be estimated from these."
    )


@pytest.mark.parametrize(
    ("more_seeds", "told"),
    [(1, "about 1 more seed."), (200, "about 200 more seeds."), (201, "more than 200 more seeds.")],
)
def test_an_estimate_that_says_only_that_losses_are_alike_is_no_number(more_seeds: int, told: str) -> None:
    verdict = deliver(Standing("a", (lead("b", 0.005),), ("a", "b"), more_seeds), 3)
    assert verdict.more_seeds == more_seeds
    assert verdict.sentence.endswith(f"it would take {told}")


def test_seeds_are_told_where_the_losers_had_fewer_than_the_race() -> None:
    told = decided(
        lead("d", 0.05, beaten_by="a", seeds=5),
        lead("b", 0.02, beaten_by="a", seeds=12),
        lead("c", 0.04, beaten_by="a", seeds=5),
        seeds=12,
    )
    assert told == (
        "Use a: better than b by 2.0 AP (+1.0 to +3.0) over 12 common seeds, "
        "than d by 5.0 AP (+4.0 to +6.0) and c by 4.0 AP (+3.0 to +5.0) over 5 seeds."
    )


def test_the_seeds_of_a_lead_that_is_not_decided_are_told_where_trainings_were_lost() -> None:
    standing = Standing("a", (lead("b", 0.005), lead("c", 0.002, seeds=2)), ("a", "b", "c"), more_seeds=9)
    assert deliver(standing, 3).sentence.startswith(
        "Not decided over 3 common seeds: a is ahead of b by 0.5 AP (-0.5 to +1.5), "
        "of c by 0.2 AP (-0.8 to +1.2) over 2 seeds; "
    )


def test_where_trainings_were_lost_the_leader_may_be_behind_one_loss_or_have_no_seed_in_common_with_it() -> None:
    rewards = {"a": {0: 0.50}, "b": {0: 0.51, 1: 0.41}, "c": {1: 0.3}, "d": {0: 0.1}}
    standing = judge(rewards, [0, 1, 2], (3,))
    assert standing is not None
    assert deliver(standing, 3).sentence == (
        "Not decided over 3 common seeds: a is ahead of d by 40.0 AP over 1 seed and behind b by 1.0 AP over 1 seed "
        "and without a seed in common with c; how many more seeds it would take cannot be estimated from these."
    )
    alone = judge({"a": {0: 0.5}, "b": {1: 0.4}}, [0, 1], (2,))
    assert alone is not None
    assert deliver(alone, 2).sentence.startswith(
        "Not decided over 2 common seeds: a is without a seed in common with b; "
    )


def test_what_another_loss_has_beaten_is_not_called_worse_than_the_leader() -> None:
    told = decided(
        lead("b", 0.02, beaten_by="a", seeds=8),
        lead("c", 0.002, beaten_by="b", seeds=5),
        lead("d", 0.04, beaten_by="b", seeds=5),
        lead("e", -0.001, beaten_by="b", seeds=5),
        seeds=8,
    )
    assert told == (
        "Use a: better than b by 2.0 AP (+1.0 to +3.0) over 8 common seeds, "
        "than d by 4.0 AP (+3.0 to +5.0) over 5 seeds; "
        "c and e left after 5 seeds, beaten by b."
    )


def test_the_margins_say_who_was_ahead_of_a_loss_that_left() -> None:
    leads = (lead("b", 0.02), lead("c", 0.002, beaten_by="b"))
    margins = deliver(Standing("a", leads, ("a", "b"), more_seeds=2), 3).margins
    assert [(one.label, one.is_decided, one.beaten_by) for one in margins] == [("b", False, None), ("c", True, "b")]


def test_what_a_verdict_calls_better_is_so_by_its_own_intervals() -> None:
    """Races of losses with unequal noise, some of whose losers were beaten by another loss than the last leader."""
    looks, beaten_by_others = (3, 5, 8, 12), 0
    for index in range(200):
        rng = np.random.default_rng(index)
        means, noises = rng.normal(0.4, 0.02, 6), rng.choice([0.005, 0.01, 0.04], 6)
        table = means[:, None] + noises[:, None] * rng.normal(size=(6, 12))
        full = {label: dict(enumerate(table[row])) for row, label in enumerate("abcdef")}
        known = {label: {seed: full[label][seed] for seed in range(looks[0])} for label in full}
        while more := plan_next(known, range(12), looks, {(one, seed) for one in known for seed in known[one]}):
            for label, seed in more:
                known[label][seed] = full[label][seed]
        used = max(map(len, known.values()))
        standing = judge(known, range(used), looks)
        assert standing is not None
        verdict = deliver(standing, used)
        better = next((part for part in verdict.sentence.split("; ") if "better than" in part), "")
        for margin in verdict.margins:
            assert margin.interval is not None
            is_behind = margin.is_decided and margin.interval[0] > 0
            assert (f" {margin.label} by " in better) == is_behind
            beaten_by_others += margin.is_decided and not is_behind
    assert beaten_by_others > 3
