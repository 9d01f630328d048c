import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from servers import CannotStartError, RedisServer
from wire import Wire

from paploss.jobs import queue as queues
from paploss.jobs.queue import QueueEntry, QueueError, TrialQueue


@pytest.fixture
def queue(redis_url: str) -> Iterator[TrialQueue]:
    with TrialQueue(redis_url) as opened:
        yield opened


def take(queue: TrialQueue, *classes: int, consumer: str = "w", takeover_seconds: float = 60) -> QueueEntry | None:
    return queue.take(classes, consumer, block_seconds=0.02, takeover_seconds=takeover_seconds)


def trial_of(entry: QueueEntry | None) -> str | None:
    return None if entry is None else entry.trial_id


def test_trials_come_in_the_order_they_were_put(queue: TrialQueue) -> None:
    queue.put(0, ["a", "b"])
    queue.put(0, ["c"])
    assert [trial_of(take(queue, 0)) for _ in range(4)] == ["a", "b", "c", None]


def test_a_worker_gets_only_the_classes_it_asks_for_and_the_first_class_first(queue: TrialQueue) -> None:
    queue.put(0, ["small"])
    queue.put(2, ["large"])
    assert take(queue, 1) is None
    assert trial_of(take(queue, 2, 0)) == "large"
    assert trial_of(take(queue, 2, 0)) == "small"


def test_an_entry_stays_until_it_is_acknowledged(queue: TrialQueue, redis_url: str) -> None:
    queue.put(0, ["a", "b"])
    entry = take(queue, 0)
    assert entry is not None
    assert queue.present(0) == {"a", "b"}
    queue.acknowledge(entry)
    queue.acknowledge(entry)
    assert queue.present(0) == {"b"}
    with redis.Redis.from_url(redis_url) as raw:
        assert raw.xpending("paploss:trials:0", "workers")["pending"] == 0


def test_an_entry_left_idle_goes_to_the_next_worker(queue: TrialQueue) -> None:
    queue.put(0, ["a"])
    assert take(queue, 0, consumer="dead") is not None
    assert take(queue, 0, consumer="alive") is None
    time.sleep(0.02)
    assert trial_of(take(queue, 0, consumer="alive", takeover_seconds=0.01)) == "a"


def test_an_entry_left_idle_is_found_behind_any_number_that_are_in_hand(queue: TrialQueue, redis_url: str) -> None:
    queue.put(0, [f"t-{number}" for number in range(25)])
    *_, last = [take(queue, 0, consumer="dead") for _ in range(25)]
    assert last is not None
    with redis.Redis.from_url(redis_url) as raw:
        raw.xclaim("paploss:trials:0", "workers", "dead", 0, [last.entry_id], idle=120_000)
    found = [trial_of(take(queue, 0, consumer="alive")) for _ in range(3)]  # ten at a look
    assert [each for each in found if each is not None] == ["t-24"]


def test_entries_of_two_classes_that_come_at_once_are_not_lost(queue: TrialQueue) -> None:
    for gpus in (0, 1):
        take(queue, gpus)  # makes the groups
    taken: list[QueueEntry | None] = []
    worker = threading.Thread(
        target=lambda: taken.append(queue.take([0, 1], "w", block_seconds=10, takeover_seconds=60))
    )
    worker.start()
    with redis.Redis.from_url(f"redis://{queue.address}/0") as client:
        while not client.info("clients")["blocked_clients"]:
            time.sleep(0.005)
        with client.pipeline(transaction=True) as pipeline:
            for gpus in (0, 1):
                pipeline.xadd(f"paploss:trials:{gpus}", {"trial": f"of-{gpus}"})
            pipeline.execute()
    worker.join()
    taken.append(take(queue, 0, 1))
    assert {trial_of(entry) for entry in taken} == {"of-0", "of-1"}


def test_entries_of_two_classes_that_come_after_a_look_at_each_are_not_lost(
    queue: TrialQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for gpus in (0, 1):
        take(queue, gpus)  # makes the groups
        queue.put(gpus, [f"of-{gpus}"])
    with monkeypatch.context() as before:
        before.setattr(queue, "_find", lambda *_: None)
        first = take(queue, 0, 1)
    assert {trial_of(entry) for entry in (first, take(queue, 0, 1))} == {"of-0", "of-1"}


def test_workers_that_wait_are_known_by_name(queue: TrialQueue) -> None:
    assert queue.consumers(0) == []
    take(queue, 0, consumer="one")
    take(queue, 0, consumer="two")
    assert {consumer.name for consumer in queue.consumers(0)} == {"one", "two"}
    assert all(consumer.idle_seconds < 30 for consumer in queue.consumers(0))


def test_an_emptied_redis_is_used_again_at_once(queue: TrialQueue, redis_url: str) -> None:
    queue.put(0, ["a"])
    entry = take(queue, 0)
    assert entry is not None
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    assert queue.present(0) == set()
    queue.acknowledge(entry)
    assert take(queue, 0) is None
    queue.put(0, ["b"])
    assert trial_of(take(queue, 0)) == "b"


def test_redis_emptied_while_a_worker_waits_costs_it_nothing(queue: TrialQueue, redis_url: str) -> None:
    taken: list[QueueEntry | None] = []
    take(queue, 0)
    worker = threading.Thread(target=lambda: taken.append(queue.take([0], "w", block_seconds=1, takeover_seconds=60)))
    worker.start()
    with redis.Redis.from_url(redis_url) as client:
        while not client.info("clients")["blocked_clients"]:
            time.sleep(0.005)
        client.flushall()
    worker.join()
    assert taken == [None]
    queue.put(0, ["a"])
    assert trial_of(take(queue, 0)) == "a"


def test_a_worker_that_is_long_silent_is_forgotten_but_not_what_it_took(
    queue: TrialQueue, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "FORGET_CONSUMER_SECONDS", 0)
    queue.put(0, ["a"])
    take(queue, 0, consumer="dead")
    assert queue.consumers(0) == []
    assert trial_of(take(queue, 0, consumer="alive", takeover_seconds=0)) == "a"
    assert queue.consumers(0) == []
    with redis.Redis.from_url(redis_url) as raw:
        assert [row["name"] for row in raw.xinfo_consumers("paploss:trials:0", "workers")] == [b"alive"]


def test_an_unreachable_redis_is_an_error_that_names_its_address_and_heals() -> None:
    server = RedisServer()
    try:
        server.start()
        with TrialQueue(server.url) as queue:
            queue.put(0, ["a"])
            server.stop(signal.SIGKILL)
            with pytest.raises(QueueError, match=f"127.0.0.1:{server.port}"):
                queue.put(0, ["b"])
            with pytest.raises(QueueError, match=f"127.0.0.1:{server.port}"):
                take(queue, 0)
            server.start()
            queue.put(0, ["c"])
            assert trial_of(take(queue, 0)) == "c"
    except CannotStartError as error:
        pytest.skip(str(error))
    finally:
        server.close()


@pytest.mark.parametrize("url", ["http://:hidden@127.0.0.1:1", "redis://:hidden/word@127.0.0.1:1", "nonsense"])
def test_a_url_that_is_not_redis_is_refused_without_telling_its_password(url: str) -> None:
    with pytest.raises(QueueError, match="redis_url: expected redis://") as refusal:
        TrialQueue(url)
    assert "hidden" not in str(refusal.value)


MALFORMED: list[dict[str | bytes, str | bytes]] = [
    {"colour": "red"},
    {"trial": b"\xff\xfe"},
    {"trial": "../../x"},
    {"trial": "t-1\n"},
    {"trial": ""},
]


@pytest.mark.parametrize("pending", [False, True])
@pytest.mark.parametrize("fields", MALFORMED, ids=str)
def test_a_malformed_entry_is_dropped_and_counted(
    queue: TrialQueue, redis_url: str, fields: dict[Any, Any], pending: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis.from_url(redis_url) as raw:
        take(queue, 0)  # makes the group
        raw.xadd("paploss:trials:0", fields)
        if pending:
            raw.xreadgroup("workers", "dead", {"paploss:trials:0": ">"})
            time.sleep(0.02)
        queue.put(0, ["a"])
        assert queue.present(0) == {"a"}
        taken = [trial_of(take(queue, 0, takeover_seconds=0.01 if pending else 60)) for _ in range(2)]
        assert "a" in taken
        assert raw.xlen("paploss:trials:0") == 1
    assert "malformed entry" in caplog.text
    assert "the 1. so far" in caplog.text


def test_a_consumer_of_any_name_breaks_no_list(queue: TrialQueue, redis_url: str) -> None:
    take(queue, 0)
    with redis.Redis.from_url(redis_url) as raw:
        raw.execute_command("XGROUP", "CREATECONSUMER", "paploss:trials:0", "workers", b"\xff")
    assert {consumer.name for consumer in queue.consumers(0)} == {"w", "\N{REPLACEMENT CHARACTER}"}


def test_a_server_that_became_a_replica_is_left_for_the_one_that_its_address_leads_to_now() -> None:
    old, new = RedisServer(), RedisServer()
    try:
        old.start()
        new.start()
        with Wire(("127.0.0.1", old.port)) as wire, TrialQueue(wire.redis_url) as queue:
            queue.put(0, ["a"])
            wire.target = ("127.0.0.1", new.port)
            with redis.Redis.from_url(old.url) as client:
                client.replicaof("127.0.0.1", new.port)  # connections to it stay open
            with pytest.raises(QueueError, match="read only"):
                queue.put(0, ["b"])
            queue.put(0, ["b"])
            assert queue.present(0) == {"b"}
    finally:
        old.close()
        new.close()
