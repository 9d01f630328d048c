"""What pages and figures show of a whole search."""

import pytest
from scenarios import add_search
from simulation import Platform

from paploss.controller.store.reading import overview


@pytest.mark.databases("sqlite")
def test_the_reward_figure_has_the_rounds_of_the_table(platform: Platform) -> None:
    """In a stream the trials that a version proposes are consumed by several updates."""
    search = add_search(platform.database, mode="stream", rounds=6, trials_per_round=2)
    for worker in range(8):
        platform.take(f"w{worker}")
    platform.driver.tick()
    assert platform.work() == 9
    platform.driver.tick()
    with platform.database.read() as session:
        rewards = overview.read_rewards(session, search.id)
    assert [row.round for row in rewards] == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    for closed in platform.rounds(search)[:4]:
        of_round = [row.reward for row in rewards if row.round == closed.number]
        assert sum(of_round) / len(of_round) == pytest.approx(closed.mean_reward)
