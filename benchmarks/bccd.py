"""The whole system on real images: a search on blood-cell images, then trainings with what it found and with others.

    python -m benchmarks.bccd --data FOLDER [--state FOLDER]

FOLDER holds the BCCD data set in COCO format: train.json, val.json, test.json and images/. Everything runs through the
platform (controller, Redis, workers) on this machine; stopped at any point, the same command goes on where it was.
The record grows in benchmarks/results/: bccd-search.json, bccd-comparison.json with a table, and two plots.
"""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from scipy.stats import t as student_t

from benchmarks.record import RESULTS, write_record
from controller.cli.platform import Address, find_running, run_platform
from controller.client import Client
from controller.specs import ConfirmSpec, LossChoice, SearchSpec, TrainingSpec
from jobs.spec import DatasetSpec, LossSpec, Overrides, Split

matplotlib.use("Agg")
from matplotlib import pyplot as plt

CODE = ("controller", "jobs", "trainer", "worker")
PROFILE = "retinanet-tiny"
FOUND, PUBLISHED = "Parameterized AP, found here", "Parameterized AP, published"
REFERENCE = FOUND
COLOURS = {"mean": "#1f5fa8", "best": "#c2571a", "dot": "#9aa7b4", "start": "#6b7280"}
POLL_SECONDS = 15.0


def search_spec(data: Path, rounds: int) -> SearchSpec:
    """The search: `rounds` rounds of 8, proxies of 4 epochs."""
    return SearchSpec(
        name="BCCD, RetinaNet tiny",
        profile=PROFILE,
        dataset=dataset_spec(data),
        rounds=rounds,
        trials_per_round=8,
        confirm=ConfirmSpec(candidates=4, seeds=3, published=True),
    )


def comparison_spec(data: Path, search_id: str, seeds: Sequence[int], epochs: int | None) -> TrainingSpec:
    """Final trainings with four losses over the same seeds, measured on the test split."""
    return TrainingSpec(
        name=f"BCCD, RetinaNet tiny: comparison for {search_id}",
        kind="compare",
        profile=PROFILE,
        dataset=dataset_spec(data),
        schedule="final",
        overrides=Overrides(epochs=epochs),
        losses=(
            LossChoice(label="Focal + L1", loss=LossSpec(name="focal_l1")),
            LossChoice(label="Focal + GIoU", loss=LossSpec(name="focal_giou")),
            LossChoice(label=PUBLISHED, preset="retinanet"),
            LossChoice(label=FOUND, search=search_id),
        ),
        seeds=tuple(seeds),
        evaluate_split="test",
    )


def dataset_spec(data: Path) -> DatasetSpec:
    """BCCD as the workers see it."""
    splits = {name: Split(annotations=f"{name}.json", images="images") for name in ("train", "val", "test")}
    return DatasetSpec(name="bccd", root=str(data), **splits)


def main() -> None:
    """Run, or go on with, the search and the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--state", type=Path, default=Path("state/bccd"))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, help="of the final trainings [the profile's]")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    data = options.data.resolve(strict=True)
    with (
        connect(options.state.absolute(), options.workers, data) as address,
        Client(address.url, address.key) as client,
    ):
        spec = search_spec(data, options.rounds)
        search_id = next((run.id for run in client.list_searches() if run.name == spec.name), None)
        search_id = search_id or client.create_search(spec).id
        client.wait(search_id, lambda _: record_search(client, search_id), poll_seconds=POLL_SECONDS)
        comparison = comparison_spec(data, search_id, options.seeds, options.epochs)
        training_id = next((run.id for run in client.list_trainings() if run.name == comparison.name), None)
        training_id = training_id or client.create_training(comparison).id
        client.wait(training_id, lambda _: record_comparison(client, training_id), poll_seconds=POLL_SECONDS)


@contextmanager
def connect(state: Path, workers: int, data: Path) -> Iterator[Address]:
    """The platform that runs over `state`, started if there is none."""
    if running := find_running(state):
        yield running
        return
    with run_platform(state, None, workers, [data]) as platform:
        yield platform.address


def record_search(client: Client, search_id: str) -> None:
    """Write what a search has come to so far."""
    search = client.get_search(search_id)
    trials = list(client.trials(search_id))
    rounds = list(client.rounds(search_id))
    rewarded = [trial for trial in trials if trial.reward is not None]
    print(
        f"search: round {search.round} of {search.rounds}, {len(rewarded)} rewards, best AP {search.best_ap or 0:.4f}"
    )
    result: dict[str, Any] = {
        "state": search.state,
        "spec": search.spec.model_dump(mode="json", exclude={"dataset": {"root"}}),
        "rounds": [row.model_dump(mode="json", exclude={"created_at", "closed_at"}) for row in rounds],
        "trials": [
            trial.model_dump(
                mode="json",
                include={"number", "kind", "label", "round", "seed", "state", "reward", "diverged", "seconds"},
            )
            for trial in trials
        ],
        "best": client.best(search_id).model_dump(mode="json") if rewarded else None,
    }
    write_record("bccd-search", CODE, result)
    proxies = [
        (trial.round, trial.reward, trial.state)
        for trial in trials
        if trial.kind == "proxy" and trial.round is not None and trial.reward is not None
    ]
    if proxies:
        plot_search(proxies, result["best"])


def plot_search(proxies: Sequence[tuple[int, float, str]], best: Mapping[str, Any]) -> None:
    """Every trial a dot, by round; the rounds' means and the best so far as lines."""
    numbers = sorted({number for number, _, _ in proxies})
    by_round = [[100 * reward for number, reward, _ in proxies if number == at] for at in numbers]
    figure, axes = plt.subplots(figsize=(7.2, 4.0), layout="constrained")
    for pruned, marker, label in ((False, "o", "trial"), (True, "x", "trial stopped as hopeless")):
        points = [(at, 100 * reward) for at, reward, state in proxies if (state == "pruned") == pruned]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color=COLOURS["dot"], label=label, markersize=5)
    axes.plot(numbers, [np.mean(rewards) for rewards in by_round], color=COLOURS["mean"], label="mean of the round")
    highest = np.maximum.accumulate([max(rewards) for rewards in by_round])
    axes.plot(numbers, highest, color=COLOURS["best"], label="best proxy so far")
    if best["report"]:
        start = best["report"]["identity"]["mean"]
        if start is not None:
            axes.axhline(100 * start, color=COLOURS["start"], linestyle="--", linewidth=1, label="identity, confirmed")
        axes.axhline(100 * best["ap"], color=COLOURS["best"], linestyle="--", linewidth=1, label="found, confirmed")
    axes.set(xlabel="round", ylabel="proxy AP on the validation split (%)", xticks=numbers)
    _finish(figure, axes, "bccd-search.png")


def record_comparison(client: Client, training_id: str) -> None:
    """Write the results so far: the numbers, a table, a plot."""
    training = client.get_training(training_id)
    trials = [trial for trial in client.trials(training_id) if trial.reward is not None]
    print(f"comparison: {training.trials_final} of {training.trials_planned} trainings")
    rewards: dict[str, dict[int, float]] = {choice.label: {} for choice in training.spec.losses}
    for trial in trials:
        rewards[trial.label][trial.seed] = 100 * (trial.reward or 0.0)
    rows = [summarise(label, of_seed, rewards[REFERENCE]) for label, of_seed in rewards.items()]
    spec = training.spec.model_dump(mode="json", exclude={"dataset": {"root"}})
    write_record("bccd-comparison", CODE, {"state": training.state, "spec": spec, "ap_percent": rewards, "rows": rows})
    (RESULTS / "bccd-comparison.md").write_text(as_table(rows))
    if trials:
        plot_comparison(rewards)


def summarise(label: str, rewards: Mapping[int, float], reference: Mapping[int, float]) -> dict[str, Any]:
    """Mean and standard deviation of a loss, and the found loss minus it, paired by seed, with a 95 % interval."""
    values = list(rewards.values())
    shared = sorted(set(rewards) & set(reference))
    differences = [reference[seed] - rewards[seed] for seed in shared]
    return {
        "label": label,
        "seeds": len(values),
        "mean": float(np.mean(values)) if values else None,
        "standard_deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "found_minus_this": float(np.mean(differences)) if differences and label != REFERENCE else None,
        "interval_reach": _reach(differences) if label != REFERENCE else None,
    }


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The summary as a Markdown table."""
    lines = ["| loss | test AP, mean ± sd | found minus this, 95 % interval |", "|---|---:|---:|"]
    for row in rows:
        mean = _signless(row["mean"], row["standard_deviation"])
        difference = "" if row["found_minus_this"] is None else _signed(row["found_minus_this"], row["interval_reach"])
        lines.append(f"| {row['label']} | {mean} | {difference} |")
    return "\n".join(lines) + "\n"


def plot_comparison(rewards: Mapping[str, Mapping[int, float]]) -> None:
    """Each seed a dot, each loss's mean a bar's end."""
    figure, axes = plt.subplots(figsize=(7.2, 2.8), layout="constrained")
    labels = [label for label, of_seed in rewards.items() if of_seed]
    for position, label in enumerate(labels):
        values = list(rewards[label].values())
        colour = COLOURS["best"] if label == REFERENCE else COLOURS["mean"]
        axes.plot(values, [position] * len(values), "o", color=colour, alpha=0.55, markersize=6)
        axes.plot([np.mean(values)], [position], "|", color=colour, markersize=22, markeredgewidth=2.5)
        axes.annotate(
            f"{np.mean(values):.1f}",
            (float(np.mean(values)), position),
            xytext=(0, 13),
            textcoords="offset points",
            ha="center",
        )
    axes.set(xlabel="AP on the test split (%); a dot per seed, the bar is the mean", yticks=range(len(labels)))
    axes.set_yticklabels(labels)
    axes.set_ylim(len(labels) - 0.5, -0.7)
    _finish(figure, axes, "bccd-comparison.png", legend=False)


def _reach(differences: Sequence[float]) -> float | None:
    count = len(differences)
    if count < 2:
        return None
    return float(student_t.ppf(0.975, count - 1) * np.std(differences, ddof=1) / math.sqrt(count))


def _signless(mean: float | None, spread: float | None) -> str:
    if mean is None:
        return "no result yet"
    return f"{mean:.1f}" if spread is None else f"{mean:.1f} ± {spread:.1f}"


def _signed(mean: float, reach: float | None) -> str:
    return f"{mean:+.1f}" if reach is None else f"{mean:+.1f} ± {reach:.1f}"


def _finish(figure: Any, axes: Any, name: str, *, legend: bool = True) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    if legend:
        axes.legend(frameon=False, fontsize=9, loc="lower right")
    figure.savefig(RESULTS / name, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
