"""Deformable DETR on blood cells: a search from the identity, then trainings with what it found and with other losses.

    python -m benchmarks.detr --data FOLDER [--state FOLDER] [--workers N]

FOLDER holds the blood cells in COCO format: train.json, val.json, test.json and images/. It runs through the platform
on this machine; stopped at any point, the same command goes on where it was. The record grows in
benchmarks/results/detr.json.

What is fixed before any result is seen: `deformable-detr-tiny`; 64 proxies of 4 epochs with `guided`, over the paper's
41 dimensions; three candidates confirmed beside the identity over three fresh seeds; then the detector's own loss, the
found one, AP and Rank & Sort Loss for 8 epochs over seeds 1 to 3, each with the best of three learning rates, measured
on the test split. The profile's shape, batch size and rate were chosen before with the detector's own loss, on the
validation split; rates of the ranking losses were not looked at.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.platform import POLL_SECONDS, add_platform_options, connect, dataset_spec, find_or_create
from benchmarks.record import write_record
from paploss.client.loss_choice import LossChoice
from paploss.client.specs import RATE_FACTORS, ComparisonSpec, ConfirmSpec, SearchSpec
from paploss.client.sync_client import Client
from paploss.jobs.losses import APL1, FocalL1GIoU, RankSort
from paploss.jobs.spec import Overrides

CODE = ("controller", "paploss", "trainer", "worker")
PROFILE = "deformable-detr-tiny"


def search_spec(data: Path) -> SearchSpec:
    """The search."""
    return SearchSpec(
        name="BCCD, Deformable DETR tiny",
        profile=PROFILE,
        dataset=dataset_spec("bccd", data),
        rounds=16,
        trials_per_round=4,
        algorithm="guided",
        prune=False,
        confirm=ConfirmSpec(candidates=3, seeds=3, most_seeds=3, rivals=()),
    )


def comparison_spec(data: Path, search_id: str) -> ComparisonSpec:
    """The trainings after it."""
    return ComparisonSpec(
        name=f"BCCD, Deformable DETR tiny, for search {search_id}",
        profile=PROFILE,
        dataset=dataset_spec("bccd", data),
        overrides=Overrides(epochs=8),
        losses=(
            LossChoice(label="Focal + L1 + GIoU", loss=FocalL1GIoU()),
            LossChoice(label="AP Loss + L1", loss=APL1()),
            LossChoice(label="Rank & Sort", loss=RankSort()),
            LossChoice(label="Parameterized AP, found here", search=search_id),
        ),
        seeds=(1, 2, 3),
        learning_rates=RATE_FACTORS,
        evaluate_split="test",
    )


def main() -> None:
    """Run, or go on with, the search and the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    add_platform_options(parser, "detr")
    options = parser.parse_args()
    data = options.data.resolve(strict=True)
    with connect(options.state, options.workers, [data]) as client:
        search_id = find_or_create(client, search_spec(data))
        client.wait(search_id, lambda _: record(client, search_id, None), poll_seconds=POLL_SECONDS)
        comparison_id = find_or_create(client, comparison_spec(data, search_id))
        client.wait(comparison_id, lambda _: record(client, search_id, comparison_id), poll_seconds=POLL_SECONDS)


def record(client: Client, search_id: str, comparison_id: str | None) -> None:
    """Write what there is so far."""
    search = client.get_experiment(search_id)
    trials = list(client.trials(search_id))
    rewarded = [trial for trial in trials if trial.reward is not None]
    result: dict[str, Any] = {
        "search": {
            "state": search.state,
            "round": search.round,
            "spec": without_root(search.spec),
            "trials": [
                trial.model_dump(mode="json", include={"kind", "label", "round", "seed", "state", "reward", "seconds"})
                for trial in trials
            ],
            "best": client.best(search_id).model_dump(mode="json") if rewarded else None,
        }
    }
    if comparison_id is not None:
        comparison = client.get_experiment(comparison_id)
        result["comparison"] = {
            "state": comparison.state,
            "spec": without_root(comparison.spec),
            "result": client.comparison(comparison_id).model_dump(mode="json"),
        }
    write_record("detr", CODE, result)


def without_root(spec: dict[str, Any]) -> dict[str, Any]:
    """A request without the folder of its data, which is this machine's."""
    return {**spec, "dataset": {**spec["dataset"], "root": ""}}


if __name__ == "__main__":
    main()
