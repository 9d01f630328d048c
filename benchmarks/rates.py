"""Which learning rate is fair: every loss of a tiny profile at several rates, on two data sets.

    python -m benchmarks.rates --data bccd=FOLDER raccoon=FOLDER [--profiles NAME ...] [--state FOLDER]

Protocol, written before the trainings on the second data set. A loss trains once with each rate on the training split
and is measured on the validation split, at the length that a proxy has there (EPOCHS). Of a profile the default is the
rate at which the losses together lose least to their own best rates, on the first data set; the second one checks it:
the default holds if it loses at most 1 AP there to the best common rate, in the mean over the losses. A loss has a
default of its own where another rate is better by more than 2 AP on both data sets, which is about twice the
noise of a training.

Everything runs through the platform on this machine; stopped at any point, the same command goes on where it was. The
record grows in benchmarks/results/rates.json.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.platform import (
    EPOCHS,
    POLL_SECONDS,
    connect,
    dataset_spec,
    find_or_create,
    make_parser,
)
from benchmarks.record import write_record
from paploss.client.loss_choice import every_loss
from paploss.client.specs import ComparisonSpec
from paploss.client.sync_client import Client
from paploss.jobs.spec import Overrides

CODE = ("controller", "paploss", "trainer", "worker")
RATES: Mapping[str, tuple[float, ...]] = {
    "retinanet-tiny": (0.004, 0.008, 0.016),
    "faster-rcnn-tiny": (0.002, 0.004, 0.008),
}
SEED = 101


def main() -> None:
    """Run, or go on with, the trainings."""
    parser = make_parser(__doc__, "rates")
    parser.add_argument("--profiles", nargs="+", default=list(RATES), choices=list(RATES))
    options = parser.parse_args()
    folders = dict(options.data)
    with connect(options.state, options.workers, list(folders.values())) as client:
        requests = [
            request(profile, name, folder, rate)
            for profile in options.profiles
            for name, folder in folders.items()
            for rate in RATES[profile]
        ]
        ids = [find_or_create(client, spec) for spec in requests]
        for experiment_id in ids:
            client.wait(experiment_id, poll_seconds=POLL_SECONDS)
            write_record("rates", CODE, {"rows": [row for one in ids for row in read_rows(client, one)]})


def request(profile: str, dataset: str, folder: Path, rate: float) -> ComparisonSpec:
    """Every loss of the profile at one rate."""
    return ComparisonSpec(
        name=f"rates: {profile}, {dataset}, {rate:g}",
        profile=profile,
        dataset=dataset_spec(dataset, folder),
        schedule="proxy",
        overrides=Overrides(epochs=EPOCHS[dataset], learning_rate=rate),
        losses=every_loss(profile),
        seeds=(SEED,),
        learning_rates=(),
    )


def read_rows(client: Client, experiment_id: str) -> list[dict[str, Any]]:
    """What is known of one rate so far: a row for each loss, its AP in percent."""
    experiment = client.get_experiment(experiment_id)
    return [
        {
            "profile": experiment.profile,
            "dataset": experiment.spec["dataset"]["name"],
            "learning_rate": experiment.spec["overrides"]["learning_rate"],
            "loss": trial.label,
            "ap_percent": 100 * trial.reward,
            "diverged": trial.diverged,
            "seconds": trial.seconds,
        }
        for trial in client.trials(experiment_id)
        if trial.reward is not None
    ]


if __name__ == "__main__":
    main()
