"""Whether the extended family pays, and what each part of AP Loss + L1 is worth.

    python -m benchmarks.family --data bccd=FOLDER [--state FOLDER] [--workers N]

Protocol, written before the first of these trainings.

Ground      `retinanet-tiny` and blood cells as in `benchmarks.evidence`: the test split, seeds 11 to 15, at the length
            of the proxies (each loss at the best of three rates) and at three times that (at the better of half the
            profile's rate and the rate itself, which is what `compare` tries there by default); rates by two seeds.
Parts       Points of the extended family: the published functions alone, with L1 and with GIoU added; AP Loss's
            error-driven ranking with L1 and with GIoU. All have the published gradient scale, 4.12, and added terms of
            weight 1, so that they differ in nothing else. Beside them AP Loss + L1 itself, whose scale is 1. Then AP
            Loss + L1 again, same jobs, without the running maximum of its precision, which is a patch of this module.
Searches    Three with `guided`, seeds 0, 1 and 2, 100 trainings each, as in `benchmarks.evidence` but over the extended
            family, 44 dimensions. AP Loss + L1 and the published parameters are among their first trials.
Found       What the three have found, beside AP Loss + L1 and the published parameters.
Judged      All paired by seed, with the 95 % interval of Student's t; where it contains 0, nothing is shown.
            Parts: functions + L1 and functions + GIoU minus functions (the box term); error-driven minus functions with
            the same box term (the ranking); GIoU minus L1 with the same ranking; AP Loss + L1 minus itself without the
            running maximum.
            Searches: what each has confirmed minus what the search of the same seed over the published family has,
            with the same fresh seeds, on the validation split.
            Found: each minus AP Loss + L1, on test. The family contains it, so below 0 by more than noise would be a
            fault of the search.

It runs through the platform, but for the patched trainings; stopped at any point, the same command goes on where it
was. What is known so far is in benchmarks/results/family.json; what has ended lies whole in family/, and is not run
again on another machine either, unless `--results` names an empty folder.
"""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks import evidence
from benchmarks.confirmed import compare_confirmed, subtract
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
from benchmarks.record import RESULTS, read_parts, write_record
from paploss.client.comparison import Comparison
from paploss.client.loss_choice import NAMED_LOSSES, LossChoice, choose_by_name
from paploss.client.specs import FINAL_RATE_FACTORS, RATE_FACTORS, ComparisonSpec, SearchSpec
from paploss.jobs.losses import ParameterizedAP
from paploss.jobs.presets import PRESETS
from paploss.jobs.spec import JobSpec, Overrides
from paploss.trainer.attempt import AttemptContext
from paploss.trainer.events import discard
from paploss.trainer.training import train_and_evaluate

CODE = ("controller", "paploss", "trainer", "worker")
PROFILE, DATASET = "retinanet-tiny", "bccd"
SEARCH_SEEDS = (0, 1, 2)
RATES = {1: RATE_FACTORS, 3: FINAL_RATE_FACTORS}
"""Factors on the profile's rate, by length in proxies."""
RIVAL = "AP Loss + L1"
ERROR_DRIVEN = {"error_driven": True}
PARTS: Mapping[str, Mapping[str, Any]] = {
    "functions": {},
    "functions + L1": {"l1_weight": 1.0},
    "functions + GIoU": {"giou_weight": 1.0},
    "error-driven + L1": ERROR_DRIVEN | {"l1_weight": 1.0},
    "error-driven + GIoU": ERROR_DRIVEN | {"giou_weight": 1.0},
}
"""What each has beyond the published parameters."""
CONTRASTS = (
    ("functions + L1", "functions"),
    ("functions + GIoU", "functions"),
    ("error-driven + L1", "functions + L1"),
    ("error-driven + GIoU", "functions + GIoU"),
    ("functions + GIoU", "functions + L1"),
    ("error-driven + GIoU", "error-driven + L1"),
)


def main() -> None:
    """Run, or go on with, the parts, the searches and what they have found."""
    parser = make_parser(__doc__, "family")
    add_results_option(parser)
    options = parser.parse_args()
    folder: Path = dict(options.data)[DATASET]
    kept = ("parts", "without_running_maximum", "searches", "found")
    record = read_parts(options.results / "family.json", kept)
    with connect(options.state, options.workers, [folder]) as client:
        restore(client, RESULTS / "evidence", "retinanet-tiny-bccd-guided-*")
        restore(client, options.results / "family")

        def keep(run: str, part: str, name: str, found: Mapping[str, Any]) -> None:
            record[part][name] = found
            write_record("family", CODE, record, options.results)
            keep_dumps(client, [client.get_experiment(run)], options.results / "family", [folder])

        searches: dict[int, str] = {}
        for seed in SEARCH_SEEDS:
            searches[seed] = run_to_end(client, search_spec(seed, folder))
            published_family = evidence.find_guided(client, DATASET, seed)
            both = {"extended": searches[seed], "functions": published_family}
            keep(searches[seed], "searches", f"{seed}", compare_confirmed(client, both))
        found = [LossChoice(label=f"found, seed {seed}", search=run) for seed, run in searches.items()]
        contrasts = [(choice.label, RIVAL) for choice in found]
        for length in RATES:
            parts = comparison_spec("parts", length, folder, part_losses())
            run = run_to_end(client, parts)
            table = client.comparison(run)
            keep(run, "parts", f"{length}", summarise(table, CONTRASTS))
            if f"{length}" not in record["without_running_maximum"]:
                rival = next(row for row in table.rows if row.label == RIVAL)
                patched = train_without_maximum(parts, rival.learning_rate_factor or 1, options.workers)
                minus = subtract(rival.rewards, patched)
                keep(run, "without_running_maximum", f"{length}", {"rewards": patched, "rival_minus_it": minus})
            losses = (*found, choose_by_name("ap_l1"), LossChoice(preset="published"))
            run = run_to_end(client, comparison_spec("found", length, folder, losses))
            keep(run, "found", f"{length}", summarise(client.comparison(run), contrasts))


def comparison_spec(part: str, length: int, folder: Path, losses: Sequence[LossChoice]) -> ComparisonSpec:
    """Losses on the test split, as in `benchmarks.evidence`."""
    return ComparisonSpec(
        name=f"extended family, {part}: test, {length} x the length of the proxies",
        profile=PROFILE,
        dataset=dataset_spec(DATASET, folder),
        overrides=Overrides(epochs=length * EPOCHS[DATASET]),
        losses=tuple(losses),
        seeds=evidence.COMPARED_SEEDS,
        evaluate_split="test",
        reference=losses[0].label,
        learning_rates=RATES[length],
    )


def part_losses() -> list[LossChoice]:
    """The points of the family, and AP Loss + L1."""
    (head, published), *_ = PRESETS["retinanet"].heads.items()
    points = {label: {head: published.model_copy(update=dict(added))} for label, added in PARTS.items()}
    parts = [LossChoice(label=label, loss=ParameterizedAP(heads=heads)) for label, heads in points.items()]
    return [*parts, choose_by_name("ap_l1")]


def search_spec(seed: int, folder: Path) -> SearchSpec:
    """The search of `benchmarks.evidence` over the extended family."""
    spec = evidence.search_spec(PROFILE, DATASET, {DATASET: folder}, "guided", seed=seed)
    changes = {"name": f"{spec.name}, extended family", "family": "extended"}
    return SearchSpec.model_validate(spec.model_dump() | changes)


def train_without_maximum(spec: ComparisonSpec, rate_factor: float, processes: int) -> dict[int, float]:
    """AP by seed of AP Loss + L1, trained as in a comparison but without interpolated precision."""
    jobs = [
        JobSpec(
            trial_id=f"without-maximum-{seed}",
            kind="compare",
            profile=spec.profile,
            schedule=spec.schedule,
            overrides=spec.overrides,
            learning_rate_factor=rate_factor,
            dataset=spec.dataset,
            evaluate_split=spec.evaluate_split,
            loss=NAMED_LOSSES["ap_l1"],
            seed=seed,
        )
        for seed in spec.seeds
    ]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return dict(zip(spec.seeds, pool.map(_train_without_maximum, jobs), strict=True))


def without_maximum() -> AbstractContextManager[object]:
    """While it is open, AP Loss takes each positive's own error, not the least of those that score no higher."""
    return mock.patch("paploss.losses.ap.interpolate", lambda errors: errors)


def _train_without_maximum(job: JobSpec) -> float:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, without_maximum():
        attempt = AttemptContext(Path(folder), cache=None, emit=discard, stop_requested=lambda: False)
        reward = train_and_evaluate(job, attempt).reward
    assert reward is not None
    return reward


def summarise(table: Comparison, contrasts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """All of a comparison, and the differences that are judged."""
    rewards = {row.label: row.rewards for row in table.rows}
    differences = {f"{one} minus {other}": subtract(rewards[one], rewards[other]) for one, other in contrasts}
    return {"comparison": table.model_dump(mode="json"), "differences": differences}


if __name__ == "__main__":
    main()
