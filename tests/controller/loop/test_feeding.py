import pytest
import redis
from scenarios import add_search, pass_term
from servers import RedisServer
from simulation import Platform
from wire import Wire

from paploss.controller.settings import Settings
from paploss.jobs.queue import Consumer, TrialQueue

# The queue


def test_an_emptied_redis_is_refilled(platform: Platform, redis_url: str) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    platform.driver.tick()
    assert platform.queue.present(0) == {trial.id for trial in platform.trials(search)}


def test_a_trial_has_one_entry_however_often_the_driver_looks(platform: Platform) -> None:
    add_search(platform.database)
    for _ in range(3):
        platform.driver.tick()
    assert platform.work() == 4


def test_without_redis_results_are_still_used(platform: Platform) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    platform.work()
    with TrialQueue("redis://127.0.0.1:1/0") as nowhere:
        platform.queue = nowhere
        platform.new_driver()
        pass_term(platform.database)
        assert platform.new_driver().tick()
    assert platform.search(search.id).round == 1


def test_while_redis_is_silent_results_are_still_used_and_afterwards_it_is_filled(
    platform: Platform, redis_server: RedisServer
) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    platform.work()
    with Wire(("127.0.0.1", redis_server.port)) as wire, TrialQueue(wire.redis_url, answer_seconds=0.1) as silent:
        platform.queue = silent
        platform.driver = platform.new_driver()
        pass_term(platform.database)
        wire.hold()
        assert platform.driver.tick()
        assert platform.search(search.id).round == 1
        wire.repair()
        platform.driver.tick()
        assert platform.queue.present(0) == {trial.id for trial in platform.trials(search, state="queued")}


def test_the_queue_holds_no_more_than_workers_take_soon(platform: Platform) -> None:
    search = add_search(platform.database, trials_per_round=20, rounds=1)
    platform.driver.tick()
    assert len(platform.queue.present(0)) == platform.settings.queue_margin
    assert len(platform.trials(search)) == 20
    assert platform.run(search).state == "succeeded"


def test_for_each_worker_that_asked_within_a_minute_two_trials_more_are_in_the_queue(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_search(platform.database, trials_per_round=40, rounds=1)
    monkeypatch.setattr(platform.queue, "consumers", lambda _gpus: [Consumer("lives", 59.0), Consumer("gone", 61.0)])
    platform.driver.tick()
    assert len(platform.queue.present(0)) == 2 + platform.settings.queue_margin


def test_as_many_more_are_in_the_queue_as_were_taken_since_the_last_look(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where trials are short, so many may be taken until the next one."""
    add_search(platform.database, trials_per_round=40, rounds=1)
    monkeypatch.setattr(platform.queue, "consumers", lambda _gpus: [])
    platform.driver.tick()
    assert platform.work(5) == 5
    platform.driver.tick()
    assert len(platform.queue.present(0)) == 5 + platform.settings.queue_margin


def test_each_resource_class_has_its_own_queue(platform: Platform) -> None:
    small = add_search(platform.database)
    large = add_search(platform.database, gpus=2)
    platform.driver.tick()
    for search, gpus in ((small, 0), (large, 2)):
        lease = platform.start("w", gpus)
        assert lease is not None
        assert lease.job.gpus == gpus
        assert lease.trial_id.startswith(search.id)


def test_searches_share_the_workers_and_priority_goes_first(platform: Platform, settings: Settings) -> None:
    first = add_search(platform.database, trials_per_round=50)
    second = add_search(platform.database, trials_per_round=50)
    served = {first.id: 0, second.id: 0}
    for _ in range(10):
        platform.driver.tick()
        for _ in range(4):
            lease = platform.start()
            assert lease is not None
            served[lease.trial_id.rpartition("-")[0]] += 1
            platform.finish(lease)
    assert served == {first.id: 20, second.id: 20}

    urgent = add_search(platform.database, trials_per_round=50, priority=5)
    for _ in range(3):
        platform.driver.tick()
        last = [platform.start() for _ in range(settings.queue_margin)]
        for lease in last:
            assert lease is not None
            platform.finish(lease)
    assert all(lease is not None and lease.trial_id.startswith(urgent.id) for lease in last)


def test_a_capped_search_takes_no_more_workers_than_its_cap(platform: Platform) -> None:
    search = add_search(platform.database, trials_per_round=10, max_running_trials=2)
    platform.driver.tick()
    running = [platform.start(), platform.start()]
    for _ in range(3):
        platform.driver.tick()
        assert platform.queue.present(0) == set()
    assert running[0] is not None
    platform.finish(running[0])
    platform.driver.tick()
    assert len(platform.queue.present(0)) == 1
    assert platform.start() is not None
    assert len(platform.trials(search, state="running")) == 2
