"""How much of their time workers wait: `python -m benchmarks.scheduling`.

Plays searches of 40 rounds with 64 simulated workers and log-normal trial durations through the real scheduling code
and writes benchmarks/results/scheduling.json. Two figures each: `waiting` over the whole search, and
`waiting_before_tail` up to the start of its last trial. After that no scheduler has anything to hand out, and in the
platform the confirmations and other searches fill the gap.
"""

import argparse
from dataclasses import asdict
from itertools import product

import numpy as np

from benchmarks.record import write_record
from benchmarks.simulation import Fleet, simulate
from paploss.controller.search.scheduling import Mode, SearchSchedule

ROUNDS = 40
SEEDS = 10
CODE = ("controller/search/scheduling.py", "benchmarks/simulation.py", "benchmarks/scheduling.py")


def main() -> None:
    """Simulate, print a table, and record."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    fleet = Fleet()
    modes: tuple[Mode, ...] = ("round", "stream")
    rows = []
    print(f"{fleet.workers} workers, {ROUNDS} rounds, spread of durations {fleet.spread}, {SEEDS} searches each")
    print("mode    trials per round   waiting  before tail  minutes  staleness   max  left out")
    for mode, trials_per_round in product(modes, (8, 32, 64)):
        schedule = SearchSchedule(mode=mode, rounds=ROUNDS, trials_per_round=trials_per_round)
        bound = schedule.max_staleness
        runs = [simulate(schedule, fleet, seed) for seed in range(SEEDS)]
        row = {
            "mode": mode,
            "trials_per_round": trials_per_round,
            "waiting": round(float(np.mean([run.waiting for run in runs])), 5),
            "waiting_before_tail": round(float(np.mean([run.waiting_before_tail for run in runs])), 5),
            "minutes": round(float(np.mean([run.seconds for run in runs])) / 60, 1),
            "staleness_mean": round(float(np.mean([np.mean(run.staleness) for run in runs])), 2),
            "staleness_max": max(max(run.staleness) for run in runs),
            "too_stale": round(float(np.mean([np.mean(np.array(run.staleness) > bound) for run in runs])), 4),
        }
        rows.append(row)
        print(
            f"{mode:8}{trials_per_round:>16}{row['waiting']:>10.2%}{row['waiting_before_tail']:>13.2%}{row['minutes']:>9}"
            f"{row['staleness_mean']:>11}{row['staleness_max']:>6}{row['too_stale']:>10.2%}"
        )
    result = {"fleet": asdict(fleet), "rounds": ROUNDS, "searches": SEEDS, "rows": rows}
    print(write_record("scheduling", CODE, result))


if __name__ == "__main__":
    main()
