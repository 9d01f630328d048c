"""What the control plane carries: `python -m benchmarks.load`, about four minutes; nothing else should run.

Real controllers, PostgreSQL with its default durability, and Redis; simulated workers with the real protocol over HTTP
and Redis, and no training. They share the machine's cores, so what the workers cost is taken from the controllers.
Writes benchmarks/results/load.json:

- trials a second through propose, queue, claim, renewal, result and update, by four searches at once, and how evenly
  they shared the workers; on a new database and on one with a month of searches (30 x 10,000 trials);
- how long what people and monitoring ask for takes, on the full database;
- how long 1,000 workers wait for the answer to a renewal, one every 5 s each, on the full database;
- processor time of each part, memory of the controllers, connections to the database.
"""

import argparse
import os
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np

from benchmarks.load_history import write_history
from benchmarks.load_platform import LoadedPlatform, run_platform
from benchmarks.load_workers import METRICS, hold_leases, renew_leases, run_trials
from benchmarks.record import write_record
from paploss.client.algorithms import PpoSettings
from paploss.client.specs import SearchSpec
from paploss.controller.store.database import Database
from paploss.controller.store.trials import tallies

SEARCHES = 4
WORKER_PROCESSES, WORKER_THREADS = 2, 32
WARM_UP_SECONDS = 5.0
GOAL_TRIALS_PER_SECOND = 300
RENEW_SECONDS = 5.0
GOAL_P99_MS = 200
PAST_SEARCHES, PAST_TRIALS = 30, 10_000
READS = 11
CODE = ("controller", "paploss", "worker", "benchmarks/load.py", "benchmarks/load_workers.py", "tests/servers.py")


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--controllers", type=int, default=2, help="processes that serve; one of them drives")
    parser.add_argument("--seconds", type=float, default=30, help="how long each part is measured")
    parser.add_argument("--workers", type=int, default=1000, help="that renew")
    given = parser.parse_args()
    load_before = round(os.getloadavg()[0], 1)
    with run_platform(given.controllers) as platform:
        result: dict[str, Any] = {
            "controllers": given.controllers,
            "new_database": measure_trials(platform, given.seconds),
        }
        spec = SearchSpec(
            profile="synthetic", algorithm=PpoSettings(), mode="round", rounds=PAST_TRIALS // 100, trials_per_round=100
        )
        write_history(
            platform.database,
            searches=PAST_SEARCHES,
            trials=PAST_TRIALS,
            spec=spec.model_dump_json(),
            metrics=METRICS.model_dump_json(),
        )
        while is_untallied(platform.database):  # as in that month
            time.sleep(1)
        result["past_trials"] = PAST_SEARCHES * PAST_TRIALS
        result["full_database"] = measure_trials(platform, given.seconds)
        result["reads_ms"] = measure_reads(platform)
        result["renewals"] = measure_renewals(platform, given.workers, given.seconds)
        result["database_mib"] = platform.database_mib()
    result["load_before"] = load_before
    result["goals"] = {"trials_per_second": GOAL_TRIALS_PER_SECOND, "renewal_p99_ms": GOAL_P99_MS}
    print(write_record("load", CODE, result))


def is_untallied(database: Database) -> bool:
    """Whether the leader has past trials to add up."""
    with database.read() as session:
        return tallies.find_stretch(session) is not None


def measure_trials(platform: LoadedPlatform, seconds: float) -> dict[str, Any]:
    """Let workers run trials of several searches at once."""
    with platform.client() as client:
        spec = SearchSpec(
            profile="synthetic", algorithm=PpoSettings(), mode="stream", rounds=10_000, trials_per_round=16
        )
        searches = [client.create(spec.model_copy(update={"seed": seed})).id for seed in range(SEARCHES)]
        run_trials(platform, processes=WORKER_PROCESSES, threads=WORKER_THREADS, seconds=WARM_UP_SECONDS)
        before = platform.cpu_seconds()
        done = run_trials(platform, processes=WORKER_PROCESSES, threads=WORKER_THREADS, seconds=seconds)
        after = platform.cpu_seconds()
        shares = Counter(each.experiment_id for each in done)
        result = {
            "trials_per_second": round(len(done) / seconds, 1),
            "updates": sum(client.get_experiment(experiment_id).round for experiment_id in searches),
            "shares": [round(shares[experiment_id] / len(done), 3) for experiment_id in searches],
            "cpu_ms_per_trial": {kind: round(1000 * (after[kind] - before[kind]) / len(done), 2) for kind in after},
            "controller_mib": platform.controller_mib(),
            "connections": platform.connections(),
        }
        for experiment_id in searches:
            client.cancel(experiment_id)
    print(result, flush=True)
    return result


def measure_renewals(platform: LoadedPlatform, workers: int, seconds: float) -> dict[str, Any]:
    """Let each of so many workers renew its lease every few seconds."""
    leases = hold_leases(platform, workers)
    before, started_at = platform.cpu_seconds(), time.monotonic()
    renewals = renew_leases(platform, leases, seconds=seconds, renew_seconds=RENEW_SECONDS)
    waited = [each.waited_seconds for each in renewals]
    took_seconds, after = time.monotonic() - started_at, platform.cpu_seconds()
    result = {
        "workers": workers,
        "renewals_per_second": round(workers / RENEW_SECONDS),
        "renewals": len(waited),
        **{f"p{share}_ms": percentile_ms(waited, share) for share in (50, 90, 99)},
        "longest_ms": percentile_ms(waited, 100),
        "cpu_share": {kind: round((after[kind] - before[kind]) / took_seconds, 2) for kind in after},
        "controller_mib": platform.controller_mib(),
        "connections": platform.connections(),
    }
    print(result, flush=True)
    return result


def measure_reads(platform: LoadedPlatform) -> dict[str, float]:
    """Median time of what people and monitoring ask for again and again."""
    paths = ("/metrics", "/api/v1/status", "/api/v1/experiments", "/api/v1/workers")
    headers = {"Authorization": f"Bearer {platform.user_key}"}
    found = {}
    with httpx.Client(base_url=platform.urls[0], headers=headers, timeout=60) as http:
        for path in paths:
            seconds = [http.get(path).raise_for_status().elapsed.total_seconds() for _ in range(READS)]
            found[path] = percentile_ms(seconds, 50)
    print(found, flush=True)
    return found


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """A percentile of durations, in milliseconds."""
    return round(1000 * float(np.percentile(seconds, share)), 1)


if __name__ == "__main__":
    main()
