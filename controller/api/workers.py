"""The workers: what they last reported, and which wait at the queue."""

from paploss.client import models
from paploss.controller.api import views
from paploss.controller.api.services import Services
from paploss.controller.store.database import read_clock
from paploss.controller.store.reading import lists, overview
from paploss.jobs.profiles import PROFILES
from paploss.jobs.queue import QueueError

WAITING_SECONDS = 60.0
"""A worker that has not asked the queue for this long does not count as waiting."""


def read_workers(services: Services, cursor: str | None, limit: int) -> models.Page[models.WorkerSummary]:
    """Workers by name. The last page ends with those that wait at the queue and have never claimed a trial."""
    waiting = _read_waiting(services)
    with services.database.read() as session:
        page = lists.list_workers(session, cursor, limit)
        running = lists.running_trials(session, [row.name for row in page.items])
        known = lists.find_known_workers(session, waiting)
        clock = read_clock(session)
    items = []
    for row in page.items:
        seen_at = max(row.last_seen_at, clock - waiting.get(row.name, float("inf")))
        live = row.name in waiting or clock - seen_at < services.settings.lease_seconds
        items.append(views.worker_summary(row, running.get(row.name), seen_at, live))
    if page.next_cursor is None:
        newcomers = sorted(waiting.keys() - known)
        items += [_newcomer(name, clock - waiting[name]) for name in newcomers]
    return models.Page(items=items, next_cursor=page.next_cursor)


def measure_fleet(services: Services) -> lists.Fleet:
    """How many workers are live and busy, with a fixed number of queries."""
    waiting = _read_waiting(services)
    with services.database.read() as session:
        return lists.measure_fleet(session, waiting, services.settings.lease_seconds)


def _read_waiting(services: Services) -> dict[str, float]:
    """Seconds since each worker last asked the queue, by name, of recent ones; empty where Redis does not answer."""
    with services.database.read() as session:
        classes = overview.open_classes(session) | {card.gpus for card in PROFILES.values()}
    try:
        consumers = [consumer for gpus in sorted(classes) for consumer in services.queue.consumers(gpus)]
    except QueueError:
        return {}
    return {
        consumer.name: consumer.idle_seconds
        for consumer in sorted(consumers, key=lambda consumer: -consumer.idle_seconds)
        if consumer.idle_seconds < WAITING_SECONDS
    }


def _newcomer(name: str, seen_at: float) -> models.WorkerSummary:
    return models.WorkerSummary(
        name=name,
        host="",
        device="",
        gpus=0,
        versions={},
        live=True,
        trial_id=None,
        experiment_id=None,
        iteration=None,
        total_iterations=None,
        gpu_use=[],
        first_seen_at=None,
        last_seen_at=views.moment(seen_at),
    )
