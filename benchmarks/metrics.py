"""Whether a search for another metric finds more of it: `python -m benchmarks.metrics --data bccd=FOLDER`.

Protocol, written before the first of these searches.

Searches    `retinanet-tiny`, blood cells, 100 trainings of `guided` as in `benchmarks.evidence`, seed 0, that maximise
            AP75 and AP of medium objects (a third of the cells; small ones are 9 in the validation split, too few). The
            search for AP is the recorded one of `benchmarks.evidence`.
Comparison  the loss that each of the three has found, on the test split, seeds 11 to 15, at the length of the proxies
            and at the rate of the searches.
Judged      in each of the two metrics: what was found for it minus what was found for AP, paired by seed, with the 95 %
            interval of Student's t. It is shown to work where the interval lies above 0.

It runs through the platform; stopped at any point, the same command goes on where it was. What is known so far is in
benchmarks/results/metrics.json; what has ended lies whole in metrics/, and is not run again on another machine either,
unless `--results` names an empty folder.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks import evidence
from benchmarks.confirmed import subtract
from benchmarks.platform import (
    EPOCHS,
    add_results_option,
    connect,
    dataset_spec,
    keep_dumps,
    make_parser,
    restore,
    run_to_end,
)
from benchmarks.ranks import found_loss
from benchmarks.record import write_record
from paploss.client.loss_choice import LossChoice
from paploss.client.specs import SearchSpec, TrainingSpec
from paploss.client.sync_client import Client
from paploss.jobs.metrics import MetricName, Metrics, measure
from paploss.jobs.spec import Overrides

CODE = ("controller", "paploss", "trainer", "worker")
PROFILE, DATASET = "retinanet-tiny", "bccd"
METRICS: Final[tuple[MetricName, ...]] = ("AP75", "AP_medium")


def main() -> None:
    """Run, or go on with, the searches and the trainings of their losses."""
    parser = make_parser(__doc__, "metrics")
    add_results_option(parser)
    options = parser.parse_args()
    folder = dict(options.data)[DATASET]
    with connect(options.state, options.workers, [folder]) as client:
        restore(client, options.results / "metrics")
        searches: dict[MetricName, str] = {}
        trainings = {"AP": train(client, folder, found_loss("AP"))}
        for metric in METRICS:
            searches[metric] = run_to_end(client, search_spec(metric, folder))
            trainings[metric] = train(client, folder, LossChoice(label=metric, search=searches[metric]))
            write_record("metrics", CODE, summarise(client, searches, trainings), options.results)
            keep_dumps(client, client.list_experiments(), options.results / "metrics", [folder])


def search_spec(metric: MetricName, folder: Path) -> SearchSpec:
    """The search of `benchmarks.evidence` with another reward."""
    spec = evidence.search_spec(PROFILE, DATASET, {DATASET: folder}, "guided", seed=0)
    return spec.model_copy(update={"name": f"{spec.name}, for {metric}", "reward": metric})


def train(client: Client, folder: Path, found: LossChoice) -> str:
    """Train with what was found for a metric; return the trainings' id when they have ended."""
    spec = TrainingSpec(
        name=f"test: found for {found.label}",
        profile=PROFILE,
        dataset=dataset_spec(DATASET, folder),
        overrides=Overrides(epochs=EPOCHS[DATASET]),
        losses=(found,),
        seeds=evidence.COMPARED_SEEDS,
        learning_rates=(),
        evaluate_split="test",
    )
    return run_to_end(client, spec)


def summarise(client: Client, searches: Mapping[MetricName, str], trainings: Mapping[str, str]) -> dict[str, Any]:
    """What was found for each metric in every one, and the differences that are judged."""
    metrics = {label: read_metrics(client, run) for label, run in trainings.items()}
    table = {
        name: {
            label: {seed: measure(name, of_seed) for seed, of_seed in found.items()} for label, found in metrics.items()
        }
        for name in ("AP", *METRICS)
    }
    differences = {metric: subtract(table[metric][metric], table[metric]["AP"]) for metric in searches}
    return {
        "best": {metric: client.best(run).model_dump(mode="json") for metric, run in searches.items()},
        "test": table,
        "found_for_it_minus_found_for_ap": {
            metric: difference for metric, difference in differences.items() if difference
        },
    }


def read_metrics(client: Client, run: str) -> dict[int, Metrics]:
    """By seed."""
    trials = [client.get_trial(trial.id) for trial in client.trials(run)]
    return {trial.seed: trial.metrics for trial in trials if trial.metrics is not None}


if __name__ == "__main__":
    main()
