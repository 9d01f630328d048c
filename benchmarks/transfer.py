"""What a search gains that starts from one on another data set: `python -m benchmarks.transfer --data raccoon=FOLDER`.

Protocol, written before the first of these trainings.

Search      `retinanet-tiny`, raccoons (8 epochs), 40 trainings of `guided`, seed 0, started from the published
            parameters and the recorded search of 100 trainings on blood cells (benchmarks/results/evidence). Otherwise
            as in `benchmarks.evidence`: nothing is stopped early, three candidates and the published parameters are
            confirmed with five fresh seeds.
Beside it   the recorded search of `benchmarks.evidence` on raccoons with the same seed, which started from the
            published parameters alone: its first 40 trainings, and what it had confirmed after all 100. Both confirm
            with the same seeds.
Judged      the mean and the best AP of the proxies 1 to 10, 11 to 20 and 21 to 40, and how many are hopeless (below 10
            AP); the confirmed losses, paired by seed, with the 95 % interval of Student's t.

It runs through the platform; stopped at any point, the same command goes on where it was. What is known so far is in
benchmarks/results/transfer.json.
"""

from pathlib import Path
from typing import Any

import numpy as np

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
from paploss.client.specs import SearchSpec
from paploss.client.sync_client import Client

CODE = ("controller", "paploss", "trainer", "worker")
PROFILE, DATASET = "retinanet-tiny", "raccoon"
FIRST_DATASET = "bccd"
ROUNDS = 10
PARTS = ((0, 10), (10, 20), (20, 40))
HOPELESS = 0.1


def main() -> None:
    """Run, or go on with, the search."""
    parser = make_parser(__doc__, "transfer")
    add_results_option(parser)
    options = parser.parse_args()
    folder = dict(options.data)[DATASET]
    with connect(options.state, options.workers, [folder]) as client:
        restore(client, RESULTS / "evidence", "*-guided-seed-0")
        restore(client, options.results / "transfer")
        earlier, beside = (evidence.find_guided(client, dataset) for dataset in (FIRST_DATASET, DATASET))
        started = run_to_end(client, search_spec(folder, earlier))
        write_record("transfer", CODE, summarise(client, started, beside), options.results)
        keep_dumps(client, [client.get_experiment(started)], options.results / "transfer", [folder])


def search_spec(folder: Path, earlier: str) -> SearchSpec:
    """The search of `benchmarks.evidence`, shorter and with another start."""
    spec = evidence.search_spec(PROFILE, DATASET, {DATASET: folder}, "guided", seed=0)
    changes = {"name": f"{spec.name}, from {earlier}", "rounds": ROUNDS, "start_from": ("published", earlier)}
    return SearchSpec.model_validate(spec.model_dump() | changes)


def summarise(client: Client, started: str, beside: str) -> dict[str, Any]:
    """Both searches' proxies by parts, and what they have confirmed."""
    searches = {"started": started, "beside": beside}
    return {
        "proxies": {name: read_parts(client, search) for name, search in searches.items()},
        **compare_confirmed(client, searches),
    }


def read_parts(client: Client, search: str) -> list[dict[str, Any]]:
    """Mean and best AP in percent of its proxies as they were proposed, and how many are hopeless."""
    proxies = [trial for trial in client.trials(search, kind="proxy") if trial.reward is not None]
    rewards = np.array([trial.reward for trial in proxies], float)
    return [
        {
            "proxies": [begin + 1, end],
            "mean": round(100 * float(rewards[begin:end].mean()), 2),
            "best": round(100 * float(rewards[begin:end].max()), 2),
            "hopeless": int((rewards[begin:end] < HOPELESS).sum()),
        }
        for begin, end in PARTS
    ]


if __name__ == "__main__":
    main()
