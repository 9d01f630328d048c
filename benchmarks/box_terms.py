"""Whether a box term added to the published functions pays elsewhere, and whether searches that start from it do.

    python -m benchmarks.box_terms --data bccd=FOLDER raccoon=FOLDER [--state FOLDER] [--workers N]

On `retinanet-tiny` and blood cells a GIoU term or an L1 term added to the published functions was worth 1.6 and 1.8 AP
(`benchmarks.family`), after that table had been looked at. Protocol, written before the first of these trainings.

Elsewhere   `retinanet-tiny` on raccoons, `faster-rcnn-tiny` on both data sets: the published parameters alone, with an
            L1 term and with a GIoU term of weight 1 in every head. On the test split, seeds 11 to 15, at the length of
            the proxies (each loss at the best of three rates) and at three times that (at the better of half the
            profile's rate and the rate itself); rates by two seeds, as in `benchmarks.family`.
Weights     Since 2026-11-29, after the first three comparisons elsewhere, in which terms of weight 1 cost
            `faster-rcnn-tiny` up to 18 AP. Is it the term or its weight? A head's gradient scale multiplies the term,
            too, and is 7.1 in its second stage; AP Loss + L1, which trains well there, has 1. So it is trained again on
            both data sets, as long as the proxies, with each term at the weight 1 / gradient scale of its head.
Searches    `retinanet-tiny` and blood cells, `guided`, seeds 0, 1 and 2, 100 trainings each: as in `benchmarks.family`,
            but over the functions and box terms alone (`family: box_terms`, 43 dimensions) and with both points that
            have a term among the first trials. These are the identity, the published parameters, with GIoU and with L1,
            in this order. Why without the error-driven switch: it was worth nothing measurable, and two of three
            searches that had it spent most of their trials where 40 of 44 dimensions do nothing.
Found       What the three have found, beside the published parameters with GIoU and with L1, as above.
Judged      All paired by seed, with the 95 % interval of Student's t; where it contains 0, nothing is shown.
            Elsewhere and weights: with each term minus without.
            Searches: what each has confirmed minus what the searches of the same seed over the published and over the
            extended family have; the same fresh seeds, on the validation split.
            Found: each minus the published parameters with GIoU and with L1, on the test split. A search that starts
            from them and ends behind them by more than noise would be a fault.

It runs through the platform in this order, but for the long trainings elsewhere, which come last; stopped at any point,
the same command goes on where it was. What is known so far is in benchmarks/results/box-terms.json; what has ended lies
whole in box-terms/, and is not run again on another machine either, unless `--results` names an empty folder.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import evidence, family
from benchmarks.confirmed import compare_confirmed, subtract
from benchmarks.family import summarise
from benchmarks.platform import (
    EPOCHS,
    add_results_option,
    connect,
    dataset_spec,
    find_search,
    keep_dumps,
    make_parser,
    restore,
    run_to_end,
)
from benchmarks.record import RESULTS, read_parts, write_record
from paploss.client.loss_choice import LossChoice
from paploss.client.specs import ComparisonSpec, SearchSpec
from paploss.client.start import Start
from paploss.client.sync_client import Client
from paploss.jobs.losses import ParameterizedAP
from paploss.jobs.presets import published_for
from paploss.jobs.spec import DatasetSpec, Overrides

ELSEWHERE = (("retinanet-tiny", "raccoon"), ("faster-rcnn-tiny", "bccd"), ("faster-rcnn-tiny", "raccoon"))
ALONE, WITH_GIOU, WITH_L1 = "published", "published + GIoU", "published + L1"
ADDED: Mapping[str, Mapping[str, float]] = {ALONE: {}, WITH_GIOU: {"giou_weight": 1.0}, WITH_L1: {"l1_weight": 1.0}}

Ended = tuple[str, str, str, dict[str, Any]]
"""Of an experiment that has ended: its part and its name in the record, its id, and what it has shown."""


def main() -> None:
    """Run, or go on with, the comparisons elsewhere, the searches and what they have found."""
    parser = make_parser(__doc__, "box-terms")
    add_results_option(parser)
    options = parser.parse_args()
    folders: dict[str, Path] = dict(options.data)
    record = read_parts(options.results / "box-terms.json", ("elsewhere", "weights", "searches", "found"))
    with connect(options.state, options.workers, list(folders.values())) as client:
        restore(client, RESULTS / "evidence", "retinanet-tiny-bccd-guided-*")
        restore(client, RESULTS / "family", "retinanet-tiny-bccd-guided-*")
        restore(client, options.results / "box-terms")
        parts = [
            elsewhere(client, folders, 1),
            weigh(client, folders),
            search(client, folders),
            *(compare_found(client, folders, length) for length in family.RATES),
            elsewhere(client, folders, 3),
        ]
        for part, name, run, result in itertools.chain(*parts):
            record[part][name] = result
            write_record("box-terms", family.CODE, record, options.results)
            keep_dumps(client, [client.get_experiment(run)], options.results / "box-terms", folders.values())


def elsewhere(client: Client, folders: Mapping[str, Path], length: int) -> Iterator[Ended]:
    """The published parameters with a box term and without."""
    for profile, dataset in ELSEWHERE:
        ground = dataset_spec(dataset, folders[dataset])
        run = run_to_end(client, comparison_spec("box terms", profile, ground, length, with_box_terms(profile)))
        contrasts = [(WITH_GIOU, ALONE), (WITH_L1, ALONE), (WITH_GIOU, WITH_L1)]
        yield "elsewhere", f"{profile}, {dataset}, {length} x", run, summarise(client.comparison(run), contrasts)


def weigh(client: Client, folders: Mapping[str, Path]) -> Iterator[Ended]:
    """On Faster R-CNN the same with weights that undo the gradient scales."""
    for profile, dataset in ELSEWHERE[1:]:
        ground = dataset_spec(dataset, folders[dataset])
        alone = run_to_end(client, comparison_spec("box terms", profile, ground, 1, with_box_terms(profile)))
        rewards = next(row.rewards for row in client.comparison(alone).rows if row.label == ALONE)
        light = with_box_terms(profile, undo_scales=True)[1:]
        run = run_to_end(client, comparison_spec("light box terms", profile, ground, 1, light))
        table = client.comparison(run)
        minus = {f"{row.label} minus {ALONE}": subtract(row.rewards, rewards) for row in table.rows if row.rewards}
        result = {"comparison": table.model_dump(mode="json"), "differences": minus}
        yield "weights", f"{profile}, {dataset}", run, result


def search(client: Client, folders: Mapping[str, Path]) -> Iterator[Ended]:
    """The searches, each beside those of its seed over the other families."""
    for seed in family.SEARCH_SEEDS:
        run = run_to_end(client, search_spec(seed, folders[family.DATASET]))
        others = {
            "functions": evidence.find_guided(client, family.DATASET, seed),
            "extended": find_search(client, family.search_spec(seed, folders[family.DATASET]).name),
        }
        beside = {name: compare_confirmed(client, {"box_terms": run, name: other}) for name, other in others.items()}
        yield "searches", f"{seed}", run, beside


def compare_found(client: Client, folders: Mapping[str, Path], length: int) -> Iterator[Ended]:
    """What the searches have found beside what they started from."""
    names = {seed: search_spec(seed, folders[family.DATASET]).name for seed in family.SEARCH_SEEDS}
    found = [LossChoice(label=f"found, seed {seed}", search=find_search(client, name)) for seed, name in names.items()]
    terms = [choice for choice in with_box_terms(family.PROFILE) if choice.label != ALONE]
    ground = dataset_spec(family.DATASET, folders[family.DATASET])
    run = run_to_end(client, comparison_spec("found from box terms", family.PROFILE, ground, length, [*found, *terms]))
    contrasts = [(one.label, term.label) for one, term in itertools.product(found, terms)]
    yield "found", f"{length} x", run, summarise(client.comparison(run), contrasts)


def with_box_terms(profile: str, *, undo_scales: bool = False) -> list[LossChoice]:
    """The published parameters that fit a profile, alone and with a box term in every head.

    `undo_scales`: of the weight 1 / gradient scale, in place of 1.
    """
    published = published_for(profile)
    assert published is not None
    choices = []
    for label, added in ADDED.items():
        heads = {}
        for name, head in published.heads.items():
            weights = {term: weight / head.gradient_scale if undo_scales else weight for term, weight in added.items()}
            heads[name] = head.model_copy(update=weights)
        choices.append(LossChoice(label=label, loss=ParameterizedAP(heads=heads)))
    return choices


def comparison_spec(
    part: str, profile: str, dataset: DatasetSpec, length: int, losses: Sequence[LossChoice]
) -> ComparisonSpec:
    """Losses on the test split, as in `benchmarks.family`."""
    return ComparisonSpec(
        name=f"{part}, {profile}, {dataset.name}: test, {length} x the length of the proxies",
        profile=profile,
        dataset=dataset,
        overrides=Overrides(epochs=length * EPOCHS[dataset.name]),
        losses=tuple(losses),
        seeds=evidence.COMPARED_SEEDS,
        evaluate_split="test",
        reference=losses[0].label,
        learning_rates=family.RATES[length],
    )


def search_spec(seed: int, folder: Path) -> SearchSpec:
    """The search of `benchmarks.evidence` over functions and box terms, started from both."""
    spec = evidence.search_spec(family.PROFILE, family.DATASET, {family.DATASET: folder}, "guided", seed=seed)
    terms = {choice.label: choice.loss for choice in with_box_terms(family.PROFILE)}
    changes = {
        "name": f"{spec.name}, box terms",
        "family": "box_terms",
        "start_from": (Start(preset="published"), Start(loss=terms[WITH_GIOU]), Start(loss=terms[WITH_L1])),
    }
    return spec.model_copy(update=changes)


if __name__ == "__main__":
    main()
