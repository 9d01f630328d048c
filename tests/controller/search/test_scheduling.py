import random
from dataclasses import replace

import pytest

from paploss.client.algorithms import PpoSettings
from paploss.controller.search.scheduling import (
    MOST_AT_ONCE,
    Action,
    Fail,
    Finish,
    Promote,
    Propose,
    SearchProgress,
    SearchSchedule,
    Update,
    Wait,
    decide,
)

ROUND = SearchSchedule(mode="round", rounds=3, trials_per_round=4)
STREAM = SearchSchedule(mode="stream", rounds=3, trials_per_round=4)
START = SearchProgress(updates=0, open=0, ready=0, unrewarded=0, workers=2)


@pytest.mark.parametrize(
    ("progress", "action"),
    [
        (START, Propose(4)),
        (replace(START, open=4), Wait()),
        (replace(START, open=1, ready=1, unrewarded=1), Propose(1)),  # the rest of a round that was begun in parts
        (replace(START, open=1, ready=3), Wait()),
        (replace(START, ready=4), Update(4)),
        (replace(START, ready=2, unrewarded=2), Update(2)),
        (replace(START, ready=1, unrewarded=3), Propose(3)),
        (replace(START, ready=0, unrewarded=8), Propose(4)),
        (replace(START, updates=3), Finish()),
    ],
)
def test_round_mode_waits_for_the_whole_round(progress: SearchProgress, action: Action):
    assert decide(ROUND, progress) == action


@pytest.mark.parametrize(
    ("progress", "action"),
    [
        (START, Propose(4)),  # as many as an update needs, though two workers need only three
        (replace(START, workers=0), Propose(4)),
        (replace(START, workers=6), Propose(7)),  # one spare
        (replace(START, workers=6, open=7), Wait()),
        (replace(START, workers=2, ended=3), Propose(8)),  # trials shorter than a look's pause
        (replace(START, workers=2, ended=3, open=8), Wait()),
        (replace(START, workers=2, ended=2), Propose(4)),  # a wave of equal trials is nothing of the kind
        (replace(START, workers=2, ended=100), Propose(12)),
        (replace(START, workers=6, open=5, ready=2), Propose(2)),
        (replace(START, workers=6, open=3, ready=4), Update(4)),
        (replace(START, workers=6, open=3, ready=6), Update(4)),
        (replace(START, workers=64), Propose(12)),  # no more than the search will consume
        (replace(START, workers=6, updates=2, open=2, ready=1), Propose(1)),
        (replace(START, workers=6, updates=2, open=3, ready=1), Wait()),
        (replace(START, workers=6, open=5, unrewarded=2), Propose(2)),  # failed ones are replaced
        (replace(START, workers=6, updates=2, open=3, promotions=1, ready=1), Propose(1)),  # which no update consumes
        (replace(START, updates=3), Finish()),
    ],
)
def test_stream_mode_keeps_the_workers_supplied(progress: SearchProgress, action: Action):
    assert decide(STREAM, progress) == action


def test_by_default_no_more_are_open_at_once_than_a_policy_learns_from():
    schedule = SearchSchedule(mode="stream", rounds=1, trials_per_round=4)
    assert schedule.max_staleness == PpoSettings().max_staleness


def test_stream_mode_bounds_staleness_by_the_trials_open_at_once():
    schedule = SearchSchedule(mode="stream", rounds=100, trials_per_round=4, max_staleness=3)
    assert decide(schedule, replace(START, workers=64)) == Propose(12)


@pytest.mark.parametrize("mode", ["round", "stream"])
def test_many_trials_are_proposed_in_parts(mode):
    schedule = SearchSchedule(mode=mode, rounds=3, trials_per_round=250)
    counts = []
    progress = START
    while isinstance(action := decide(schedule, progress), Propose):
        counts.append(action.count)
        progress = replace(progress, open=progress.open + action.count)
    assert counts == [MOST_AT_ONCE, MOST_AT_ONCE, 50]


@pytest.mark.parametrize("schedule", [ROUND, STREAM])
def test_promotions_go_before_all_else_in_parts_and_the_search_waits_for_them(schedule: SearchSchedule):
    assert decide(schedule, replace(START, ready=4, due=2)) == Promote(2)
    assert decide(schedule, replace(START, due=MOST_AT_ONCE + 1)) == Promote(MOST_AT_ONCE)
    assert decide(schedule, replace(START, updates=3, open=1, promotions=1)) == Wait()


@pytest.mark.parametrize("schedule", [ROUND, STREAM])
def test_too_many_failures_end_the_search_with_the_reason(schedule: SearchSchedule):
    action = decide(schedule, replace(START, ready=1, unrewarded=9))
    assert action == Fail("9 trials of round 0 ended without a reward and 1 with one; an update needs more")


@pytest.mark.parametrize("mode", ["round", "stream"])
@pytest.mark.parametrize(("workers", "failing"), [(1, 0.0), (3, 0.2), (64, 0.2)])
def test_a_search_ends_with_every_update_made_and_no_trial_open(mode, workers: int, failing: float):
    """Plays a whole search in which a random open trial ends at each step."""
    schedule = SearchSchedule(mode=mode, rounds=20, trials_per_round=4)
    generator = random.Random(0)
    progress = SearchProgress(updates=0, open=0, ready=0, unrewarded=0, workers=workers)
    consumed = 0
    for _ in range(10_000):
        match decide(schedule, progress):
            case Propose(count):
                assert count > 0
                progress = replace(progress, open=progress.open + count)
            case Update(count):
                assert 2 <= count <= progress.ready
                consumed += count
                progress = replace(progress, updates=progress.updates + 1, ready=progress.ready - count, unrewarded=0)
            case Wait():
                assert progress.open > 0, "nothing is open and nothing goes out: the search would stand still"
                ended = (
                    {"unrewarded": progress.unrewarded + 1}
                    if generator.random() < failing
                    else {"ready": progress.ready + 1}
                )
                progress = replace(progress, open=progress.open - 1, **ended)
            case Finish():
                break
            case Fail(reason):
                pytest.fail(reason)
    assert progress.updates == 20
    assert progress.open == progress.ready == 0
    assert consumed <= 80
    assert mode == "round" or consumed == 80


@pytest.mark.parametrize(("field", "value"), [("rounds", 0), ("trials_per_round", 1), ("max_staleness", 0)])
def test_impossible_settings_are_refused_by_name(field: str, value: int):
    with pytest.raises(ValueError, match=f"{field}: expected .* or more, got {value}"):
        replace(ROUND, **{field: value})
