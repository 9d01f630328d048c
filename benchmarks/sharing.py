"""Whether two decoder layers of a Deformable DETR should share the searched functions: `python -m benchmarks.sharing`.

Searches with `guided`, 100 trainings each, on the simulated landscapes of `benchmarks.search` (AP in percent). The AP
of a detector with two layers is the mean of a landscape at the one's parameters and a landscape at the other's: the
same one, where both layers want the same loss, or two with nothing in common, the other extreme. Searched are 41
dimensions that both layers have, or 82. Writes benchmarks/results/sharing.json; differences are paired by landscape.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from benchmarks.guided import ASYNCHRONOUS, HEADS, explore
from benchmarks.record import write_record
from benchmarks.search import Cliff, Objective, Valley, standard_error
from benchmarks.simulation import Fleet, simulate
from paploss.controller.search.guided import Guided

CODE = ("controller/search", "benchmarks/simulation.py", "benchmarks/search.py", "benchmarks/sharing.py")
SHARED, OWN = HEADS
OTHER_LANDSCAPE = 1000
"""Added to a landscape's seed for one that has nothing in common with it."""


class TwoLayers:
    """The AP of two layers with theta [..., 41], which both have, or theta [..., 82], one after the other."""

    def __init__(self, seed: int, landscape: type[Objective], alike: bool) -> None:
        self.layers = (landscape(seed), landscape(seed if alike else seed + OTHER_LANDSCAPE))

    def __call__(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        first, last = theta[..., :SHARED], theta[..., -SHARED:]
        return (self.layers[0](first) + self.layers[1](last)) / 2


def main() -> None:
    """Search, print and record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--searches", type=int, default=16, help="on each landscape")
    searches = parser.parse_args().searches
    algorithm = Guided(ASYNCHRONOUS.rounds)
    rows: list[dict[str, object]] = []
    for landscape in (Cliff, Valley):
        for alike in (True, False):
            picks: dict[int, list[float]] = {SHARED: [], OWN: []}
            for seed in range(searches):
                run = simulate(ASYNCHRONOUS, Fleet(workers=8), seed)
                layers = TwoLayers(seed, landscape, alike)
                for dimension, found in picks.items():
                    pick = algorithm.best_guess(*explore(algorithm, run, layers, seed, HEADS[dimension]))
                    found.append(float(layers(pick)))
            gain = np.array(picks[SHARED]) - np.array(picks[OWN])
            row: dict[str, object] = {
                "landscape": landscape.name,
                "layers": "alike" if alike else "nothing in common",
                "ap_shared": round(float(np.mean(picks[SHARED])), 2),
                "ap_own": round(float(np.mean(picks[OWN])), 2),
                "shared_minus_own": round(float(gain.mean()), 2),
                "standard_error": standard_error(gain),
            }
            rows.append(row)
            print(*row.values(), sep="  ", flush=True)
    print(write_record("sharing", CODE, {"searches": searches, "trainings": 100, "rows": rows}))


if __name__ == "__main__":
    main()
