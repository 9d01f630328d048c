"""What a search saves that starts from an earlier one: `python -m benchmarks.starts [--searches N]`.

A search of 100 simulated trainings on a landscape of `benchmarks.search`, then 40 of `guided` on another one, with
what the first has measured and without, on the same seeds and the same noise:

same        the landscape of the earlier search
related     the same, moved by 0.05 in each dimension (standard deviation) and at 0.7 of its AP: another data set
unrelated   another landscape: what it costs to be misled
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.guided import ASYNCHRONOUS, SPACE, explore, guess
from benchmarks.record import write_record
from benchmarks.search import Cliff, Objective, Valley, standard_error
from benchmarks.simulation import Fleet, simulate
from paploss.controller.search.algorithm import Sample
from paploss.controller.search.guided import Guided

CODE = (
    "controller/search",
    "benchmarks/simulation.py",
    "benchmarks/search.py",
    "benchmarks/guided.py",
    "benchmarks/starts.py",
)
SHORT = replace(ASYNCHRONOUS, rounds=20)
LOOKS = (5, 10, 20)
"""Updates of two trainings each, after which the best guess is measured."""


class Related:
    """A landscape moved a little, at another height."""

    def __init__(self, objective: Objective, seed: int) -> None:
        self.objective = objective
        self.shift = np.random.default_rng((77, seed)).normal(0, 0.05, SPACE.dimension)

    def __call__(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(0.7 * self.objective((theta + self.shift).clip(0, 1)))


TARGETS: dict[str, Callable[[type[Objective], int], Objective]] = {
    "same": lambda kind, seed: kind(seed),
    "related": lambda kind, seed: Related(kind(seed), seed),
    "unrelated": lambda kind, seed: kind(seed + 1000),
}


def study(searches: int) -> list[dict[str, object]]:
    """AP of the best guess with and without a start, and their difference, with its standard error over searches."""
    rows: list[dict[str, object]] = []
    for kind in (Cliff, Valley):
        found: dict[tuple[str, bool], list[list[float]]] = {}
        for seed in range(searches):
            long, short = (simulate(schedule, Fleet(workers=8), seed) for schedule in (ASYNCHRONOUS, SHORT))
            plain = Guided(ASYNCHRONOUS.rounds)
            history = explore(plain, long, kind(seed), seed)[1]
            known: tuple[Sample[Any], ...] = history.finished
            for name, make in TARGETS.items():
                for earlier in ((), (known,)):
                    algorithm = replace(plain, earlier=earlier)
                    landscape = make(kind, seed)
                    state, history = explore(algorithm, short, landscape, seed + 500)
                    guesses = [guess(algorithm, state, history, updates) for updates in LOOKS]
                    found.setdefault((name, bool(earlier)), []).append([float(landscape(each)) for each in guesses])
        for name in TARGETS:
            without, started = (np.array(found[name, each]) for each in (False, True))
            for place, updates in enumerate(LOOKS):
                gain = started[:, place] - without[:, place]
                row: dict[str, object] = {
                    "objective": kind.name,
                    "target": name,
                    "trainings": updates * ASYNCHRONOUS.trials_per_round,
                    "ap_without": round(float(without[:, place].mean()), 2),
                    "ap_started": round(float(started[:, place].mean()), 2),
                    "gain": round(float(gain.mean()), 2),
                    "standard_error": standard_error(gain),
                }
                rows.append(row)
                print(*row.values(), sep="  ", flush=True)
    return rows


def main() -> None:
    """Simulate, print, and record."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--searches", type=int, default=8, help="on each landscape")
    searches = parser.parse_args().searches
    print(write_record("starts", CODE, {"searches": searches, "starts": study(searches)}))


if __name__ == "__main__":
    main()
