"""Draws the figures of docs/explanation/loss.md from the losses themselves.

python docs/make_figures.py
"""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from torch import Tensor

from paploss.controller.web.style import PALETTES
from paploss.jobs.presets import PRESETS
from paploss.losses import identity_control_points, parameterized_ap_loss
from paploss.losses.piecewise import PiecewiseLinear

FOLDER = Path(__file__).resolve().parent / "images"
COLOURS = PALETTES["light"]
PUBLISHED = torch.tensor(PRESETS["retinanet"].heads["bbox_head"].control_points, dtype=torch.float64)
IDENTITY = identity_control_points()
H2, I2, I3, I1, H1 = range(5)
STYLES = {
    "identity": (IDENTITY, {"color": COLOURS.identity, "linestyle": ":"}),
    "published": (PUBLISHED, {"color": COLOURS.published, "linestyle": "--"}),
}


def draw_functions() -> None:
    """What the five functions do: two to score differences, three to qualities."""
    figure, axes = plt.subplots(1, 5, figsize=(11, 2.6), sharey=True, layout="constrained")
    d, u = torch.linspace(-1.3, 1.3, 521, dtype=torch.float64), torch.linspace(0, 1, 401, dtype=torch.float64)
    titles = {H2: "H2: rank, numerator", H1: "H1: rank, denominator", I2: "I2: rival's quality"}
    titles |= {I3: "I3: weight of the rank", I1: "I1: own quality"}
    for axis, row in zip(axes, (H2, H1, I2, I3, I1), strict=True):
        of_difference = row in (H2, H1)
        for label, (points, style) in STYLES.items():
            values, _ = PiecewiseLinear.through(points[row])((d / 2 + 0.5).clamp(0, 1) if of_difference else u)
            axis.plot(d if of_difference else u, values, label=label, **style)
        axis.set_title(titles[row], fontsize=9, loc="left")
        axis.set_xlabel("score difference" if of_difference else "quality u")
    axes[0].legend(frameon=False, fontsize=8)
    _save(figure, "loss-functions.svg")


def draw_one_rival() -> None:
    """One positive and one negative: loss and pull, by how far the negative's score is above the positive's."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.9), layout="constrained")
    margins = torch.linspace(-2, 2, 401, dtype=torch.float64)
    for label, (points, style) in STYLES.items():
        losses, pulls = zip(*(_with_one_rival(margin, points) for margin in margins), strict=True)
        axes[0].plot(margins, losses, label=label, **style)
        axes[1].plot(margins, pulls, **style)
    step = [float((margin > 0) / 2 + (margin == 0) / 4) for margin in margins]
    axes[0].plot(margins, step, color=COLOURS.ink, linewidth=1, label="1 - precision")
    axes[0].set_ylabel("loss")
    axes[1].set_ylabel("gradient of the negative's score")
    for axis in axes:
        axis.set_xlabel("score of the negative less that of the positive")
    axes[0].legend(frameon=False, fontsize=8)
    _save(figure, "loss-one-rival.svg")


def draw_pulls() -> None:
    """Many negatives beside one positive at score 0: who is pushed down, and how a better box changes that."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.9), sharey=True, layout="constrained")
    scores = torch.linspace(-2.5, 1.5, 400, dtype=torch.float64)
    for axis, quality in zip(axes, (0.6, 0.95), strict=True):
        for label, (points, style) in STYLES.items():
            logits = torch.cat((torch.zeros(1, dtype=torch.float64), scores)).requires_grad_()
            targets = (torch.arange(len(logits)) == 0).long()
            loss = parameterized_ap_loss(logits, targets * torch.tensor(quality), targets, points)
            (gradient,) = torch.autograd.grad(loss, logits)
            axis.plot(scores, 1000 * gradient[1:], label=label, **style)
        axis.axvline(0, color=COLOURS.grid, linewidth=1, zorder=0)
        axis.set_title(f"positive at 0 with quality {quality}", fontsize=9, loc="left")
        axis.set_xlabel("score of the negative")
    axes[0].set_ylabel("gradient x 1000")
    axes[0].legend(frameon=False, fontsize=8)
    _save(figure, "loss-pulls.svg")


def _with_one_rival(margin: Tensor, points: Tensor) -> tuple[float, float]:
    logits = torch.stack((torch.zeros_like(margin), margin)).requires_grad_()
    quality = torch.tensor([1.0, 0.0], dtype=torch.float64)
    loss = parameterized_ap_loss(logits, quality, torch.tensor([1, 0]), points)
    (gradient,) = torch.autograd.grad(loss, logits)
    return loss.item(), gradient[1].item()


def _save(figure: plt.Figure, name: str) -> None:
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color=COLOURS.grid, linewidth=0.6)
        axis.set_axisbelow(True)
    figure.savefig(FOLDER / name, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Draw all."""
    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "paploss", "font.size": 9, "lines.linewidth": 1.8, "figure.facecolor": "white"}
    drawings: tuple[Callable[[], None], ...] = (draw_functions, draw_one_rival, draw_pulls)
    for draw in drawings:
        draw()


if __name__ == "__main__":
    main()
