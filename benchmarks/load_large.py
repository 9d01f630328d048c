"""Whether the largest requests hold up leases: `python -m benchmarks.load_large`, about three minutes.

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
from collections.abc import Callable
from typing import Any

import httpx

from benchmarks.load import percentile_ms
from benchmarks.load_platform import LoadedPlatform, run_platform
from benchmarks.load_workers import hold_leases, renew_leases
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


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40, help="how long each part is measured")
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
    renew_leases(platform, leases, seconds=RENEW_SECONDS, renew_seconds=RENEW_SECONDS)  # everybody has started
    alone = renew_leases(platform, leases, seconds=seconds, renew_seconds=RENEW_SECONDS)
    took_ms: dict[str, float] = {}
    requests = threading.Thread(target=ask_much, args=(platform, took_ms))
    requests.start()
    beside = renew_leases(platform, leases, seconds=seconds, renew_seconds=RENEW_SECONDS)
    was_measured_whole = not requests.is_alive()
    requests.join()
    found = {
        name: {f"p{share}_ms": percentile_ms(waited, share) for share in (50, 90, 99, 100)}
        for name, waited in (("alone", alone), ("beside_large_requests", beside))
    }
    return found | {"requests_ms": took_ms, "requests_ended_within": was_measured_whole}


def ask_much(platform: LoadedPlatform, took_ms: dict[str, float]) -> None:
    """Ask for the largest things that one may ask for; notes how long each answer took."""

    def timed(name: str, ask: Callable[[], Any]) -> Any:
        began_at = time.monotonic()
        answer = ask()
        took_ms[name] = round(1000 * (time.monotonic() - began_at), 1)
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
            timed(path, lambda path=path: http.get(path, headers={"Accept": "text/html"}).raise_for_status())
        for name, experiment_id in (("trainings", given), ("search", found)):
            timed(f"cancel the {name}", lambda experiment_id=experiment_id: client.cancel(experiment_id))
            content = timed(f"dump the {name}", lambda experiment_id=experiment_id: client.dump(experiment_id))
            timed(f"delete the {name}", lambda experiment_id=experiment_id: client.delete(experiment_id))
            timed(f"load the {name}", lambda content=content: client.load(content))


if __name__ == "__main__":
    main()
