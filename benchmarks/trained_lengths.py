"""Whether short trainings first find a better loss for the same cost: `python -m benchmarks.trained_lengths`.

Protocol, written before the first of these trainings.

Search      `retinanet-tiny`, blood cells, `guided`, seed 0, as in `benchmarks.evidence` but with lengths 1/2 and 1 and
            `keep` 3: 148 losses of which 49 are trained to the end, which costs as much as 98 whole trainings.
Beside it   the recorded search of `benchmarks.evidence` with the same seed: 100 whole trainings. Both confirm three
            candidates with the same five seeds.
Judged      the confirmed losses, paired by seed, with the 95 % interval of Student's t: lengths save something if it
            lies above 0. Beside it the number, the mean and the best AP of the whole trainings, and Spearman's
            correlation of the AP at half length and at the end, over the losses that were promoted.

It runs through the platform; stopped at any point, the same command goes on where it was. What is known so far is in
benchmarks/results/trained-lengths.json.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks import evidence
from benchmarks.confirmed import compare_confirmed
from benchmarks.platform import (
    add_results_option,
    connect,
    keep_dumps,
    make_parser,
    restore,
    run_to_end,
)
from benchmarks.record import RESULTS, write_record
from paploss.client.lengths import Lengths
from paploss.client.models import TrialSummary
from paploss.client.specs import SearchSpec
from paploss.client.sync_client import Client

CODE = ("controller", "paploss", "trainer", "worker")
PROFILE, DATASET = "retinanet-tiny", "bccd"
LENGTHS = Lengths(fractions=(0.5, 1), keep=3)
ROUNDS = 37


def main() -> None:
    """Run, or go on with, the search."""
    parser = make_parser(__doc__, "trained-lengths")
    add_results_option(parser)
    options = parser.parse_args()
    folder = dict(options.data)[DATASET]
    with connect(options.state, options.workers, [folder]) as client:
        restore(client, RESULTS / "evidence", "*-guided-seed-0")
        restore(client, options.results / "trained-lengths")
        found = run_to_end(client, search_spec(folder))
        write_record("trained-lengths", CODE, summarise(client, found), options.results)
        keep_dumps(client, [client.get_experiment(found)], options.results / "trained-lengths", [folder])


def search_spec(folder: Path) -> SearchSpec:
    """The search of `benchmarks.evidence` with two lengths, at its cost."""
    spec = evidence.search_spec(PROFILE, DATASET, {DATASET: folder}, "guided", seed=0)
    changes = {"name": f"{spec.name}, lengths 1/2 and 1", "rounds": ROUNDS, "lengths": LENGTHS}
    return SearchSpec.model_validate(spec.model_dump() | changes)


def summarise(client: Client, found: str) -> dict[str, Any]:
    """The whole trainings of both searches, how half and whole ones agree, and what both have confirmed."""
    searches = {"lengths": found, "whole": evidence.find_guided(client, DATASET)}
    trials = {name: list(client.trials(search, kind="proxy")) for name, search in searches.items()}
    halves = {one.id: one.reward for one in trials["lengths"] if one.length < 1}
    promoted = [
        (halves[one.continues], one.reward) for one in trials["lengths"] if one.continues and one.reward is not None
    ]
    return {
        "half_trainings": len(halves),
        "whole_trainings": {name: read_whole(of_search) for name, of_search in trials.items()},
        "spearman_of_carried_on": round(float(spearmanr(promoted).statistic), 2),
        **compare_confirmed(client, searches),
    }


def read_whole(trials: Sequence[TrialSummary]) -> dict[str, float]:
    """How many trainings were whole, with their mean and best AP in percent."""
    rewards = [100 * one.reward for one in trials if one.length == 1 and one.reward is not None]
    return {"trainings": len(rewards), "mean": round(float(np.mean(rewards)), 2), "best": round(max(rewards), 2)}


if __name__ == "__main__":
    main()
