"""The whole system on real images: a search on blood-cell images, then trainings with what it found and with others.

    python -m benchmarks.bccd --data FOLDER [--state FOLDER]

FOLDER holds the BCCD data set in COCO format: train.json, val.json, test.json and images/. Everything runs through the
platform (controller, Redis, workers) on this machine; stopped at any point, the same command goes on where it was.
The record grows in benchmarks/results/: bccd-search.json, bccd-comparison.json with a table, and two plots. Each loss
is trained for as long as the proxies (4 epochs) and three times as long, on seeds that the search never used.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from scipy.stats import t as student_t

from benchmarks.platform import POLL_SECONDS, connect, dataset_spec
from benchmarks.record import RESULTS, write_record
from paploss.client.loss_choice import LossChoice
from paploss.client.specs import ConfirmSpec, SearchSpec, TrainingSpec
from paploss.client.sync_client import Client
from paploss.jobs.losses import FocalGIoU, FocalL1
from paploss.jobs.spec import Overrides

matplotlib.use("Agg")
from matplotlib import pyplot as plt

CODE = ("controller", "paploss", "trainer", "worker")
PROFILE = "retinanet-tiny"
FOUND, PUBLISHED = "Parameterized AP, found here", "Parameterized AP, published"
REFERENCE = FOUND
COLOURS = {"mean": "#1f5fa8", "best": "#c2571a", "dot": "#9aa7b4", "start": "#6b7280", "grid": "#e5e7eb"}


def search_spec(data: Path, rounds: int) -> SearchSpec:
    """The search: `rounds` rounds of 8, proxies of 4 epochs."""
    return SearchSpec(
        name="BCCD, RetinaNet tiny",
        profile=PROFILE,
        dataset=dataset_spec("bccd", data),
        rounds=rounds,
        trials_per_round=8,
        confirm=ConfirmSpec(candidates=4, seeds=3, published=True),
    )


def comparison_spec(data: Path, experiment_id: str, seeds: Sequence[int], epochs: int) -> TrainingSpec:
    """Trainings with four losses over the same seeds, measured on the test split."""
    return TrainingSpec(
        name=f"BCCD, RetinaNet tiny: {epochs} epochs, for search {experiment_id}",
        kind="comparison",
        profile=PROFILE,
        dataset=dataset_spec("bccd", data),
        schedule="final",
        overrides=Overrides(epochs=epochs),
        losses=(
            LossChoice(label="Focal + L1", loss=FocalL1()),
            LossChoice(label="Focal + GIoU", loss=FocalGIoU()),
            LossChoice(label=PUBLISHED, preset="retinanet"),
            LossChoice(label=FOUND, search=experiment_id),
        ),
        seeds=tuple(seeds),
        learning_rates=(),
        evaluate_split="test",
    )


def main() -> None:
    """Run, or go on with, the search and the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--state", type=Path, default=Path("state/bccd"))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--epochs", type=int, nargs="+", default=[4, 12], help="lengths of the compared trainings")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    data = options.data.resolve(strict=True)
    with (
        connect(options.state.absolute(), options.workers, [data]) as address,
        Client(address.url, address.key) as client,
    ):
        spec = search_spec(data, options.rounds)
        experiment_id = next((run.id for run in client.list_experiments() if run.name == spec.name), None)
        experiment_id = experiment_id or client.create(spec).id
        client.wait(experiment_id, lambda _: record_search(client, experiment_id), poll_seconds=POLL_SECONDS)
        requests = [comparison_spec(data, experiment_id, options.seeds, epochs) for epochs in options.epochs]
        known = {run.name: run.id for run in client.list_experiments("comparison")}
        ids = [known.get(request.name) or client.create(request).id for request in requests]
        for training_id in ids:
            client.wait(training_id, lambda _: record_comparisons(client, ids), poll_seconds=POLL_SECONDS)


def record_search(client: Client, experiment_id: str) -> None:
    """Write what a search has come to so far."""
    search = client.get_experiment(experiment_id)
    trials = list(client.trials(experiment_id))
    rounds = list(client.rounds(experiment_id))
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
        "best": client.best(experiment_id).model_dump(mode="json") if rewarded else None,
    }
    write_record("bccd-search", CODE, result)
    proxies = [
        (trial.round + 1, trial.reward, trial.state)
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
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=COLOURS["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    figure.savefig(RESULTS / "bccd-search.png", dpi=150)
    plt.close(figure)


def record_comparisons(client: Client, training_ids: Sequence[str]) -> None:
    """Write the results so far: the numbers, a table, a plot."""
    results: dict[int, dict[str, dict[int, float]]] = {}
    record: dict[str, Any] = {"comparisons": []}
    for training_id in training_ids:
        training = client.get_experiment(training_id)
        print(f"{training.name}: {training.trials_final} of {training.trials_planned} trainings")
        rewards: dict[str, dict[int, float]] = {choice.label: {} for choice in training.spec.losses}
        for trial in client.trials(training_id):
            if trial.reward is not None:
                rewards[trial.label][trial.seed] = 100 * trial.reward
        results[training.spec.overrides.epochs or 0] = rewards
        record["comparisons"].append(
            {
                "state": training.state,
                "spec": training.spec.model_dump(mode="json", exclude={"dataset": {"root"}}),
                "ap_percent": rewards,
                "rows": summarise_all(rewards),
            }
        )
    write_record("bccd-comparison", CODE, record)
    (RESULTS / "bccd-comparison.md").write_text(as_table(results))
    if all(any(of_seed.values()) for rewards in results.values() for of_seed in rewards.values()):
        plot_comparisons(results)


def summarise_all(rewards: Mapping[str, Mapping[int, float]]) -> list[dict[str, Any]]:
    """One row per loss."""
    return [summarise(label, of_seed, rewards[REFERENCE]) for label, of_seed in rewards.items()]


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


def as_table(results: Mapping[int, Mapping[str, Mapping[int, float]]]) -> str:
    """The summaries as a Markdown table: test AP by loss and length of training."""
    head = [f"{epochs} epochs, mean ± sd | found minus this, 95 % interval" for epochs in results]
    lines = [f"| loss | {' | '.join(head)} |", "|---|" + "---:|---:|" * len(results)]
    tables = [summarise_all(rewards) for rewards in results.values()]
    for rows in zip(*tables, strict=True):
        cells = [str(rows[0]["label"])]
        for row in rows:
            difference = row["found_minus_this"]
            cells.append(_signless(row["mean"], row["standard_deviation"]))
            cells.append("" if difference is None else _signed(difference, row["interval_reach"]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot_comparisons(results: Mapping[int, Mapping[str, Mapping[int, float]]]) -> None:
    """A panel for each length of training; each seed a dot, each mean a bar."""
    figure, panels = plt.subplots(1, len(results), figsize=(8.4, 3.0), layout="constrained", sharey=True, squeeze=False)
    for axes, (epochs, rewards) in zip(panels[0], results.items(), strict=True):
        for position, (label, of_seed) in enumerate(rewards.items()):
            values = list(of_seed.values())
            colour = COLOURS["best"] if label == REFERENCE else COLOURS["mean"]
            mean = float(np.mean(values))
            axes.plot(values, [position] * len(values), "o", color=colour, alpha=0.5, markersize=6, markeredgewidth=0)
            axes.plot([mean], [position], "|", color=colour, markersize=20, markeredgewidth=2.5)
            axes.annotate(f"{mean:.1f}", (mean, position), xytext=(0, 12), textcoords="offset points", ha="center")
        axes.set(title=f"{epochs} epochs", xlabel="AP on the test split (%)", yticks=range(len(rewards)))
        axes.set_yticklabels(list(rewards))
        axes.set_ylim(len(rewards) - 0.5, -0.7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=COLOURS["grid"], linewidth=0.8)
        axes.set_axisbelow(True)
    figure.savefig(RESULTS / "bccd-comparison.png", dpi=150)
    plt.close(figure)


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


if __name__ == "__main__":
    main()
