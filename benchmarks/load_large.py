"""Whether the largest requests hold up leases: `python -m benchmarks.load_large`, about five minutes.

1,000 workers renew their leases, one every 5 s each, first alone, then while somebody creates the largest comparison
and the largest search that are allowed, cancels them, deletes them, and loads a dump. On PostgreSQL with two
controllers, and on SQLite with its one. Simulated workers and servers share the machine's cores, as in
`benchmarks.load`. Writes benchmarks/results/load-large.json, with what else the machine was doing: its load before the
start, processes that wait for a core on average.
"""

import argparse
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import httpx

from benchmarks.load import percentile_ms
from benchmarks.load_platform import LoadedPlatform, run_platform
from benchmarks.load_workers import Renewal, hold_leases, renew_leases
from benchmarks.record import write_record
from paploss.client.algorithms import PpoSettings
from paploss.client.specs import MOST_PROXIES, MOST_TRAININGS, SearchSpec, TrainingSpec
from paploss.client.sync_client import Client

RENEW_SECONDS = 5.0
GOAL_P99_MS = 200
MOST_LOSSES, MOST_PER_ROUND = 20, 1000
SETTLE_SECONDS = 3.0
"""Between two requests, so that what one starts in the leader's loop is measured too."""
CODE = ("controller", "paploss", "benchmarks/load_large.py", "benchmarks/load_workers.py", "tests/servers.py")

Answer = TypeVar("Answer")


class Asked(NamedTuple):
    """A large request: from when to when its answer took, monotonic seconds."""

    name: str
    since: float
    until: float


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=75, help="how long each part is measured")
    parser.add_argument("--workers", type=int, default=1000, help="that renew")
    given = parser.parse_args()
    result: dict[str, Any] = {"load_before": round(os.getloadavg()[0], 1), "workers": given.workers}
    for kind, controllers in (("postgresql", 2), ("sqlite", 1)):
        with run_platform(controllers, is_sqlite=kind == "sqlite") as platform:
            result[kind] = measure(platform, given.workers, given.seconds)
        print(kind, result[kind], flush=True)
    result["goal_renewal_p99_ms"] = GOAL_P99_MS
    print(write_record("load-large", CODE, result))


def measure(platform: LoadedPlatform, workers: int, seconds: float) -> dict[str, Any]:
    """How long renewals wait alone and beside large requests, and how long those take."""
    leases = hold_leases(platform, workers)
    alone = renew_leases(platform, leases, seconds=seconds, renew_seconds=RENEW_SECONDS)
    asked: list[Asked] = []
    requests = threading.Thread(target=ask_much, args=(platform, asked))
    requests.start()
    beside = renew_leases(platform, leases, seconds=seconds, renew_seconds=RENEW_SECONDS)
    was_measured_whole = not requests.is_alive()
    requests.join()
    return {
        "alone": describe(alone),
        "beside_large_requests": describe(beside),
        "requests": {
            each.name: {"took_ms": round(1000 * (each.until - each.since), 1)}
            | describe([one for one in beside if each.since <= one.due_at < each.until + SETTLE_SECONDS / 2])
            for each in asked
        },
        "requests_ended_within": was_measured_whole,
    }


def describe(renewals: Sequence[Renewal]) -> dict[str, float]:
    """How long they have waited."""
    waited = [each.waited_seconds for each in renewals]
    return {f"p{share}_ms": percentile_ms(waited, share) for share in (50, 90, 99, 100)} if waited else {}


def ask_much(platform: LoadedPlatform, asked: list[Asked]) -> None:
    """Ask for the largest things that one may ask for, once all workers renew; notes when."""
    time.sleep(2 * RENEW_SECONDS)

    def timed(name: str, ask: Callable[[], Answer]) -> Answer:
        since = time.monotonic()
        answer = ask()
        asked.append(Asked(name, since, time.monotonic()))
        time.sleep(SETTLE_SECONDS)
        return answer

    losses = [{"label": f"loss {number}", "preset": "identity"} for number in range(MOST_LOSSES)]
    comparison = TrainingSpec.model_validate(
        {"profile": "synthetic", "losses": losses, "seeds": range(MOST_TRAININGS // MOST_LOSSES), "learning_rates": []}
    )
    search = SearchSpec(
        profile="synthetic",
        algorithm=PpoSettings(),
        mode="round",
        rounds=MOST_PROXIES // MOST_PER_ROUND,
        trials_per_round=MOST_PER_ROUND,
    )
    headers = {"Authorization": f"Bearer {platform.admin_key}"}
    with (
        Client(platform.urls[0], platform.admin_key) as client,
        httpx.Client(base_url=platform.urls[0], headers=headers, timeout=60) as http,
    ):
        given = timed(f"create {MOST_TRAININGS} trainings", lambda: client.create(comparison)).id
        found = timed(f"create a search of {MOST_PROXIES} trials", lambda: client.create(search)).id
        for path in ("/", "/workers", "/api/v1/status", "/metrics"):
            timed(path, partial(open_page, http, path))
        for name, experiment_id in (("trainings", given), ("search", found)):
            timed(f"cancel the {name}", partial(client.cancel, experiment_id))
            content = timed(f"dump the {name}", partial(client.dump, experiment_id))
            timed(f"delete the {name}", partial(client.delete, experiment_id))
            timed(f"load the {name}", partial(client.load, content))


def open_page(http: httpx.Client, path: str) -> None:
    """As a browser asks for it. Raises httpx.HTTPStatusError where that is refused."""
    http.get(path, headers={"Accept": "text/html"}).raise_for_status()


if __name__ == "__main__":
    main()
