"""Whether a search pays: real searches with every algorithm, and their losses beside every other on the test split.

    python -m benchmarks.evidence --data bccd=FOLDER raccoon=FOLDER [--state FOLDER] [--workers N] [--only PART ...]

Protocol, written before the first of these searches.

Ground      profiles `retinanet-tiny` and `faster-rcnn-tiny` at their own learning rates; blood cells (4 epochs) and
            raccoons (8 epochs): about as many steps.
Searches    100 trainings each, the paper's 41 or 82 dimensions, with `guided`, `ppo`, `cma` and `random`; on the first
            pair three searches of each algorithm, seeds 0, 1 and 2, on the others one. Nothing is stopped early: all
            rewards count alike. At the end three candidates and the published parameters are confirmed with five fresh
            seeds.
Comparison  on the test split, seeds 11 to 15: what each search of seed 0 has found (since 2026-11-28, before any of
            them was on the test split, also what the searches of seeds 1 and 2 with `guided` have), the published
            parameters, the identity, and every named loss that fits; each at the best of three rates (a check on the
            validation split with two seeds of its own; comparisons recorded before 2026-11-27 used one, and their names
            lack "rates by two seeds"); at the length of the proxies and at three times that.
Largest     losses that took the largest of the three rates, at it and at twice that, the same seeds and length, on the
            validation split (since 2026-11-28, before any was trained so). One that is ahead at twice that, by the 95 %
            interval of its paired difference, would be better in the table than it is, which the results then say.
Halved      losses that took the largest rate at three times the length of the proxies, at half that, the same seeds, on
            the test split. Decided on 2026-11-28, before any was trained so, because one of them, ahead in short
            trainings, had collapsed in long ones (30.7 ± 9.1): is it the rate or the loss? One that is ahead at half
            the rate, by the 95 % interval of its paired difference, had a rate too high for the length. The table of
            the comparison stays as its own rule makes it.
Judged      `guided` against `ppo`: the mean over searches of the confirmed AP, and of the best so far after 25, 50, 75
            and 100 trainings. The found loss: its mean on test against the best other loss, paired by seed, with the
            95 % interval. A loss that is ahead of the found one is named as the winner.

Searches and comparisons run through the platform, one after the other, in the order of their worth: the first pair and
the seed 0 of every algorithm first. Stopped at any point, the same command goes on where it was. What is known so far
is in benchmarks/results/evidence.json; what has ended lies whole in evidence/, as `paploss dump` writes it, and is not
run again on another machine either, unless `--results` names an empty folder.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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
from benchmarks.record import write_record
from paploss.client.loss_choice import LossChoice, every_loss
from paploss.client.specs import RATE_FACTORS, ComparisonSpec, ConfirmSpec, SearchSpec
from paploss.client.states import ExperimentKind
from paploss.client.sync_client import Client
from paploss.jobs.spec import Overrides

CODE = ("controller", "paploss", "trainer", "worker")
PROFILES = ("retinanet-tiny", "faster-rcnn-tiny")
ALGORITHMS = ("guided", "ppo", "cma", "random")
TRAININGS, UPDATED_AFTER = 100, 4
LENGTHS = (1, 3)
COMPARED = (("guided", 0), ("guided", 1), ("guided", 2), ("ppo", 0), ("cma", 0), ("random", 0))
COMPARED_SEEDS = (11, 12, 13, 14, 15)
LARGEST_RATE = max(RATE_FACTORS)
MARKS = (25, 50, 75, 100)


def main() -> None:
    """Run, or go on with, everything of which there is the data."""
    parser = make_parser(__doc__, "evidence")
    add_results_option(parser)
    parser.add_argument("--only", nargs="+", default=[""], metavar="PART", help="what has a name that begins so")
    options = parser.parse_args()
    folders, chosen = dict(options.data), tuple(options.only)
    with connect(options.state, options.workers, list(folders.values())) as client:
        restore(client, options.results / "evidence")
        for search in searches(folders):
            if search.name.startswith(chosen):
                run_to_end(client, search)
                record(client, folders, options.results)
        parts = (comparisons(folders, client), doubled_rates(folders, client), halved_rates(folders, client))
        for comparison in itertools.chain(*parts):
            if comparison.name.startswith(chosen):
                run_to_end(client, comparison)
                record(client, folders, options.results)


def searches(folders: Mapping[str, Path]) -> Iterator[SearchSpec]:
    """All searches, in the order in which they run."""
    first, *others = itertools.product(PROFILES, folders)
    for algorithm in ALGORITHMS:
        yield search_spec(*first, folders, algorithm, seed=0)
    for seed, algorithm in itertools.product((1, 2), ALGORITHMS):
        yield search_spec(*first, folders, algorithm, seed=seed)
    for (profile, dataset), algorithm in itertools.product(others, ALGORITHMS):
        yield search_spec(profile, dataset, folders, algorithm, seed=0)


def search_spec(profile: str, dataset: str, folders: Mapping[str, Path], algorithm: str, *, seed: int) -> SearchSpec:
    """One search of TRAININGS trainings."""
    return SearchSpec.model_validate(
        {
            "name": search_name(profile, dataset, algorithm, seed),
            "profile": profile,
            "dataset": dataset_spec(dataset, folders[dataset]),
            "algorithm": algorithm,
            "mode": "round" if algorithm == "cma" else "stream",
            "rounds": TRAININGS // UPDATED_AFTER,
            "trials_per_round": UPDATED_AFTER,
            "overrides": Overrides(epochs=EPOCHS[dataset]),
            "seed": seed,
            "prune": False,
            "confirm": ConfirmSpec(candidates=3, seeds=5, most_seeds=5, published=True, rivals=()),
        }
    )


def search_name(profile: str, dataset: str, algorithm: str, seed: int) -> str:
    """By which a search is found again, in a platform and in the record."""
    return f"{profile}, {dataset}: {algorithm}, seed {seed}"


def find_guided(client: Client, dataset: str, seed: int = 0) -> str:
    """The id of a search with `guided` on a data set, `retinanet-tiny`, which the records have."""
    return find_search(client, search_name(PROFILES[0], dataset, "guided", seed))


def find_ended(client: Client, kind: ExperimentKind) -> dict[str, str]:
    """Ids of the experiments of a kind that have succeeded, by name."""
    return {run.name: run.id for run in client.list_experiments(kind) if run.state == "succeeded"}


def comparisons(folders: Mapping[str, Path], client: Client) -> Iterator[ComparisonSpec]:
    """The found losses of the searches that have ended beside every other loss, at each length."""
    ended = find_ended(client, "search")
    for (profile, dataset), length in itertools.product(itertools.product(PROFILES, folders), LENGTHS):
        found = [
            LossChoice(label=f"found by {algorithm}, seed {seed}", search=ended[name])
            for algorithm, seed in COMPARED
            if (name := search_name(profile, dataset, algorithm, seed)) in ended
        ]
        if found:
            yield ComparisonSpec(
                name=f"{profile}, {dataset}: test, {length} x the length of the proxies, rates by two seeds",
                profile=profile,
                dataset=dataset_spec(dataset, folders[dataset]),
                schedule="final",
                overrides=Overrides(epochs=length * EPOCHS[dataset]),
                losses=(*found, *every_loss(profile), LossChoice(label="identity", preset="identity")),
                seeds=COMPARED_SEEDS,
                evaluate_split="test",
                reference=found[0].label,
                learning_rates=RATE_FACTORS,
            )


def doubled_rates(folders: Mapping[str, Path], client: Client) -> Iterator[ComparisonSpec]:
    """Losses that took the largest rate in a comparison that has ended, each at it and at twice that."""
    for spec, labels in took_the_largest_rate(folders, client):
        changes = {"name": f"{spec.name}: the largest rate, doubled", "evaluate_split": "val"}
        yield at_rates(spec, labels, (LARGEST_RATE, 2 * LARGEST_RATE)).model_copy(update=changes)


def halved_rates(folders: Mapping[str, Path], client: Client) -> Iterator[ComparisonSpec]:
    """Losses that took the largest rate in trainings longer than those in which it was checked, each at half that."""
    for spec, labels in took_the_largest_rate(folders, client):
        if spec.overrides.epochs != EPOCHS[spec.dataset.name]:
            changes = {"name": f"{spec.name}: the largest rate, halved"}
            yield at_rates(spec, labels, (LARGEST_RATE / 2,)).model_copy(update=changes)


def took_the_largest_rate(folders: Mapping[str, Path], client: Client) -> Iterator[tuple[ComparisonSpec, set[str]]]:
    """Comparisons that have ended, with the labels of their losses that took the largest rate, where there are any."""
    ended = find_ended(client, "comparison")
    for spec in comparisons(folders, client):
        rows = client.comparison(ended[spec.name]).rows if spec.name in ended else ()
        if labels := {row.label for row in rows if row.learning_rate_factor == LARGEST_RATE}:
            yield spec, labels


def at_rates(spec: ComparisonSpec, labels: Collection[str], factors: Sequence[float]) -> ComparisonSpec:
    """A comparison of some of the losses alone, at given rates."""
    losses = tuple(
        choice.model_copy(update={"label": f"{choice.label}, {factor:g} x", "learning_rate_factor": factor})
        for choice in spec.losses
        if choice.label in labels
        for factor in factors
    )
    return spec.model_copy(update={"losses": losses, "reference": losses[0].label, "learning_rates": ()})


def record(client: Client, folders: Mapping[str, Path], results: Path) -> None:
    """Write what is known so far."""
    runs = [*client.list_experiments("search"), *client.list_experiments("comparison")]
    trials = {run.id: [trial.model_dump(mode="json") for trial in client.trials(run.id)] for run in runs}
    summary: dict[str, Any] = {
        "searches": [summarise(client, run, trials[run.id]) for run in runs if run.kind == "search"],
        "comparisons": [
            {"name": run.name, "state": run.state, "comparison": client.comparison(run.id).model_dump(mode="json")}
            for run in runs
            if run.kind == "comparison"
        ],
    }
    write_record("evidence", CODE, summary, results)
    keep_dumps(client, runs, results / "evidence", folders.values())


def summarise(client: Client, run: Any, trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Of a search: the best so far in percent after each mark, and what has been confirmed."""
    done = sorted(
        (trial for trial in trials if trial["kind"] == "proxy" and trial["reward"] is not None),
        key=lambda trial: str(trial["finished_at"]),
    )
    best = client.best(run.id) if done else None
    return {
        "name": run.name,
        "state": run.state,
        "trainings": len(done),
        "hopeless": sum(trial["reward"] < 0.1 for trial in done),
        "best_so_far": {
            str(mark): 100 * max(trial["reward"] for trial in done[:mark]) for mark in MARKS if mark <= len(done)
        },
        "confirmed": best.report if best is not None and best.confirmed else None,
    }


if __name__ == "__main__":
    main()
