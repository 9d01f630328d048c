"""Draws the figure of docs/explanation/screen.md from the published sets and the recorded searches.

python -m docs.make_screen_figure
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from benchmarks.record import RESULTS
from benchmarks.screen import HOPELESS, UNSCREENED, read_trials
from paploss.controller.search.screen import LEAST_BOX_GRADIENT, box_gradient, evaluate, rho
from paploss.controller.search.space import FUNCTIONS, HeadParameters, Space
from paploss.controller.web.style import PALETTES
from paploss.jobs.presets import PRESETS

PATH = Path(__file__).resolve().parent / "images" / "screen.svg"
COLOURS = PALETTES["light"]
SPACE = Space(("bbox_head",))
TITLES = {"bccd-search": "96 trainings at a low learning rate", "rate8-search": "80 trainings at 8 times the rate"}
H2, I3, I1, H1 = (FUNCTIONS.index(name) for name in ("H2", "I3", "I1", "H1"))


def main() -> None:
    """Write the figure."""
    mpl.rcParams["svg.hashsalt"] = "paploss"
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.1), layout="constrained")
    _draw_net(axes[0])
    for axis, name in zip(axes[1:], UNSCREENED, strict=True):
        _draw_search(axis, name)
    figure.savefig(PATH, metadata={"Date": None})


def _draw_net(axis: plt.Axes) -> None:
    """What a box of quality u is worth, for the identity, the published set, and the worst trial of a search."""
    published = PRESETS["retinanet"].heads["bbox_head"]
    parameters = HeadParameters(np.array(published.control_points), published.gradient_scale)
    thetas, _ = read_trials(RESULTS / f"{UNSCREENED[1]}.jsonl.gz")
    lowest = thetas[int(np.argmin(box_gradient(SPACE, thetas)[:, 0]))]
    u = np.linspace(0, 1, 201)
    shown = {"identity": SPACE.start(), "published": SPACE.encode({"bbox_head": parameters}), "lowest g": lowest}
    styles = ((COLOURS.identity, ":"), (COLOURS.published, "--"), (COLOURS.ink, "-"))
    for (label, theta), (colour, style) in zip(shown.items(), styles, strict=True):
        points = SPACE.control_points(theta)[0]
        middle = evaluate(points, np.array([0.5]))[:, 0]
        values = evaluate(points, u)
        net = values[I1] - rho(middle[H2], middle[H1]) * values[I3]
        axis.plot(u, net, color=colour, linestyle=style, label=label)
    axis.set_title("what a box is worth: I1(u) - ρ I3(u)", fontsize=9, loc="left")
    axis.set_xlabel("quality u of the box")
    axis.legend(frameon=False, fontsize=8)


def _draw_search(axis: plt.Axes, name: str) -> None:
    thetas, rewards = read_trials(RESULTS / f"{name}.jsonl.gz")
    gradient = box_gradient(SPACE, thetas).min(axis=1)
    axis.scatter(gradient, 100 * rewards, s=10, color=COLOURS.published)
    axis.axvline(LEAST_BOX_GRADIENT, color=COLOURS.ink, linewidth=1)
    axis.axhline(100 * HOPELESS * rewards.max(), color=COLOURS.grid, linewidth=1, zorder=0)
    axis.set_title(TITLES[name], fontsize=9, loc="left")
    axis.set_xlabel("box gradient g")
    axis.set_ylabel("validation AP (%)")


if __name__ == "__main__":
    main()
