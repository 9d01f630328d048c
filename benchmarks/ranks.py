"""Whether short trainings rank losses as long ones do: `python -m benchmarks.ranks --data bccd=FOLDER`.

Protocol, written before the first of these trainings.

Ground      `retinanet-tiny`, blood cells, the validation split. Twelve losses of different kinds: every named one that
            fits, the published parameters among them, the identity, and what `guided` has found in the recorded search.
            Each at the profile's rate for it.
Lengths     4, 8 and 24 epochs, each a whole schedule of its own; seeds 21, 22 and 23, one after the other, so that what
            has ended can be judged.
Judged      Spearman's correlation of the losses' mean APs between two lengths, over all losses and over those in the
            upper half at the longer one; whether the best at 24 epochs is among the best three of the shorter length.
            The proxy's default length is the shortest whose correlation with 24 epochs is at least 0.8 over all losses
            and that has the best of 24 epochs among its best three; if neither has, 8.

The trainings run through the platform; stopped at any point, the same command goes on where it was. What is known so
far is in benchmarks/results/ranks.json, and is not trained again, unless
`--results` names an empty folder.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks import evidence
from benchmarks.platform import (
    add_results_option,
    connect,
    dataset_spec,
    make_parser,
    run_to_end,
)
from benchmarks.record import RESULTS, write_record
from paploss.client.loss_choice import LossChoice, every_loss
from paploss.client.specs import TrainingSpec
from paploss.client.sync_client import Client
from paploss.jobs.spec import Overrides

CODE = ("controller", "paploss", "trainer", "worker")
PROFILE, DATASET = "retinanet-tiny", "bccd"
EPOCHS = (4, 8, 24)
SEEDS = (21, 22, 23)


def main() -> None:
    """Run, or go on with, all trainings."""
    parser = make_parser(__doc__, "ranks")
    add_results_option(parser)
    given = parser.parse_args()
    folder = dict(given.data)[DATASET]
    found = read_recorded(given.results)
    with connect(given.state, given.workers, [folder]) as client:
        for seed, epochs in itertools.product(SEEDS, EPOCHS):
            if seed not in found[epochs]:
                found[epochs][seed] = read_ap(client, run_to_end(client, training_spec(folder, epochs, seed)))
                write_record("ranks", CODE, {"ap": found, "agreement": agreement(found)}, given.results)


def training_spec(folder: Path, epochs: int, seed: int) -> TrainingSpec:
    """All losses, trained for so long with one seed."""
    return TrainingSpec(
        name=f"ranks: {epochs} epochs, seed {seed}",
        profile=PROFILE,
        dataset=dataset_spec(DATASET, folder),
        overrides=Overrides(epochs=epochs),
        losses=(*every_loss(PROFILE), LossChoice(label="identity", preset="identity"), found_loss()),
        seeds=(seed,),
        learning_rates=(),
        evaluate_split="val",
    )


def found_loss(label: str = "found by guided") -> LossChoice:
    """What the recorded search has found and confirmed."""
    searches = json.loads((RESULTS / "evidence.json").read_text())["searches"]
    name = evidence.search_name(PROFILE, DATASET, "guided", 0)
    loss = next(one["confirmed"]["loss"] for one in searches if one["name"] == name)
    return LossChoice.model_validate({"label": label, "loss": loss})


def read_recorded(results: Path) -> dict[int, dict[int, dict[str, float]]]:
    """What is known: AP in percent by length, seed and loss."""
    path = results / "ranks.json"
    ap = json.loads(path.read_text())["ap"] if path.exists() else {}
    return {epochs: {int(seed): of_loss for seed, of_loss in ap.get(str(epochs), {}).items()} for epochs in EPOCHS}


def read_ap(client: Client, run: str) -> dict[str, float]:
    """AP in percent by loss."""
    return {str(one.label): round(100 * one.reward, 2) for one in client.trials(run) if one.reward is not None}


def agreement(found: Mapping[int, Mapping[int, Mapping[str, float]]]) -> list[dict[str, Any]]:
    """Of each two lengths, over the seeds that have ended at both."""
    rows = []
    for short, long in itertools.combinations(EPOCHS, 2):
        seeds = sorted(found[short].keys() & found[long].keys())
        if seeds:
            labels = sorted(set.intersection(*(set(found[epochs][seed]) for epochs in (short, long) for seed in seeds)))
            at_short, at_long = (mean_by_label(found[epochs], seeds, labels) for epochs in (short, long))
            upper = at_long >= np.median(at_long)
            best_three = np.argsort(at_short)[-3:]
            rows.append(
                {
                    "epochs": [short, long],
                    "seeds": seeds,
                    "losses": len(labels),
                    "spearman": round(float(spearmanr(at_short, at_long).statistic), 2),
                    "spearman_of_upper_half": round(float(spearmanr(at_short[upper], at_long[upper]).statistic), 2),
                    "best_at_the_longer": labels[int(np.argmax(at_long))],
                    "is_among_best_three_at_the_shorter": bool(np.argmax(at_long) in best_three),
                }
            )
    return rows


def mean_by_label(by_seed: Mapping[int, Mapping[str, float]], seeds: Sequence[int], labels: Sequence[str]) -> Any:
    """Mean AP of each loss [labels] over the seeds."""
    return np.array([[by_seed[seed][label] for label in labels] for seed in seeds]).mean(axis=0)


if __name__ == "__main__":
    main()
