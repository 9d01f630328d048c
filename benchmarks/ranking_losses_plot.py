"""Draws what `benchmarks.ranking_losses` recorded, again: `python -m benchmarks.ranking_losses_plot RECORD.json`."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

COLOURS = {"Parameterized AP": "C3", "AP": "C0", "aLRP": "C2", "Rank & Sort": "C1", "focal": "black"}
STYLES: Mapping[str, Literal["-", ":", "--"]] = {"ours": "-", "published": ":", "bucketed": "--", "focal": "-"}
NAMES = {
    "ours": "exact, this package",
    "published": "loop or pairs, as published",
    "bucketed": "bucketed (approximate)",
}


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Time and memory over N, one column for each P, of the rows with `near` logits; written as PNG."""
    near = [row for row in rows if row["logits"] == "near"]
    positives = sorted({row["P"] for row in near})
    figure, axes = plt.subplots(
        2, len(positives), figsize=(3.6 * len(positives), 7.5), sharex=True, sharey="row", squeeze=False
    )
    for column, count in enumerate(positives):
        of_column = [row for row in near if row["P"] == count]
        for loss, by in dict.fromkeys((row["loss"], row["by"]) for row in of_column):
            line = sorted(
                (row for row in of_column if (row["loss"], row["by"]) == (loss, by)), key=lambda row: row["N"]
            )
            for axis, quantity in zip(axes[:, column], ("ms", "peak_MB"), strict=True):
                measured = [(row["N"], row[quantity]) for row in line if row[quantity] > 0]
                axis.loglog(*zip(*measured, strict=True), STYLES[by], color=COLOURS[loss], marker="o", markersize=3)
        axes[0, column].set_title(f"P = {count:,}")
        axes[1, column].set_xlabel("entries N")
    axes[0, 0].set_ylabel("forward + backward, ms")
    axes[1, 0].set_ylabel("peak memory, MB")
    for axis in axes.flat:
        axis.grid(visible=True, which="major", alpha=0.3)
    handles = [Line2D([], [], color=colour, label=f"{loss} loss") for loss, colour in COLOURS.items()]
    handles += [Line2D([], [], color="grey", linestyle=STYLES[by], label=name) for by, name in NAMES.items()]
    figure.legend(handles=handles, loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Draw next to the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", type=Path)
    path = parser.parse_args().record
    draw(json.loads(path.read_text())["rows"], path.with_suffix(".png"))


if __name__ == "__main__":
    main()
