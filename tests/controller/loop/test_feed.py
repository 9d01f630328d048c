from paploss.controller.loop.feed import choose_next
from paploss.controller.store.trials.demand import Claimant


def waiting(name: str, *, priority: int = 0, served: int = 0, room: int = 100, trials: int = 10) -> Claimant:
    return Claimant(name, priority, served, room, [f"{name}{index}" for index in range(trials)])


def test_equal_searches_take_turns() -> None:
    assert choose_next([waiting("a"), waiting("b")], 4, {}) == ["a0", "b0", "a1", "b1"]


def test_whoever_has_been_served_least_catches_up_first() -> None:
    assert choose_next([waiting("a", served=2), waiting("b")], 4, {}) == ["b0", "b1", "a0", "b2"]


def test_a_higher_priority_goes_before_all_others() -> None:
    urgent = waiting("b", priority=1, served=50, trials=3)
    assert choose_next([waiting("a"), urgent], 4, {}) == ["b0", "b1", "b2", "a0"]


def test_no_search_gets_more_than_its_room() -> None:
    assert choose_next([waiting("a", room=1), waiting("b", trials=2)], 10, {}) == ["a0", "b0", "b1"]


def test_nothing_waiting_is_nothing_chosen() -> None:
    assert choose_next([], 5, {}) == []
