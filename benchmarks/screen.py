"""How often the screen is right on recorded searches: `python -m benchmarks.screen`.

A training is hopeless below a quarter of the search's best AP. Nothing was fitted to the record `rate8`, which is of a
search made to check the screen: RetinaNet with a small backbone on blood cells at 8 times the learning rate of
`bccd-search`. Its rewards and thetas are copied from that search's trials. Of Faster R-CNN each head is
judged by itself.
"""

import argparse
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import RESULTS, write_record
from paploss.controller.search.screen import LEAST_BOX_GRADIENT, box_gradient
from paploss.controller.search.space import Space

CODE = ("controller/search/screen.py", "benchmarks/screen.py")
SPACES = {space.dimension: space for space in (Space(("bbox_head",)), Space(("rpn_head", "bbox_head")))}
UNSCREENED = ("bccd-search", "rate8-search")
SCREENED = (
    "evidence/retinanet-tiny-bccd-random-seed-0",
    "evidence/retinanet-tiny-bccd-ppo-seed-0",
    "evidence/retinanet-tiny-bccd-guided-seed-0",
    "evidence/retinanet-tiny-raccoon-guided-seed-0",
    # Recorded after a bound of 0.3 had been considered for what those above show.
    "evidence/retinanet-tiny-bccd-random-seed-1",
    "evidence/retinanet-tiny-bccd-cma-seed-0",
    "evidence/retinanet-tiny-bccd-guided-seed-1",
    "evidence/retinanet-tiny-bccd-guided-seed-2",
    "evidence/retinanet-tiny-bccd-ppo-seed-1",
    "evidence/retinanet-tiny-bccd-ppo-seed-2",
    "evidence/retinanet-tiny-bccd-cma-seed-1",
    "evidence/retinanet-tiny-bccd-cma-seed-2",
    "evidence/retinanet-tiny-bccd-random-seed-2",
    "evidence/faster-rcnn-tiny-bccd-guided-seed-0",
    "evidence/faster-rcnn-tiny-raccoon-guided-seed-0",
    "evidence/faster-rcnn-tiny-bccd-ppo-seed-0",
)
"""Searches whose proposals were screened: what they trained has passed, but for a share that is never screened."""
HOPELESS = 0.25


def read_trials(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Thetas [n, D] and rewards [n] of the proxies of a recorded search: a dump, or a line for each trial."""
    with gzip.open(path, "rt") as lines:
        documents = [json.loads(line) for line in lines]
    rows = [document.get("row", document) for document in documents if document.get("table", "trials") == "trials"]
    proxies = [row for row in rows if row.get("kind") == "proxy" and row["reward"] is not None]
    return np.array([row["theta"] for row in proxies]), np.array([row["reward"] for row in proxies])


def area_under_curve(score: NDArray[np.float64], hopeless: NDArray[np.bool_]) -> float:
    """The chance that a hopeless training has the lower score; ties count half."""
    low, high = score[hopeless, None], score[~hopeless]
    return float(((low < high) + 0.5 * (low == high)).mean())


def judge(name: str) -> Iterator[dict[str, object]]:
    """What the screen says of one search, by each of its heads."""
    thetas, rewards = read_trials(RESULTS / f"{name}.jsonl.gz")
    space = SPACES[thetas.shape[1]]
    for head, gradient in zip(space.heads, box_gradient(space, thetas).T, strict=True):
        yield {"search": name, "head": head, **judge_head(gradient, rewards)}


def judge_head(gradient: NDArray[np.float64], rewards: NDArray[np.float64]) -> dict[str, object]:
    """What bounds on the gradient [n] of a head would have rejected of trainings with these rewards [n]."""
    hopeless, best = rewards < HOPELESS * rewards.max(), rewards >= np.quantile(rewards, 0.75)
    row: dict[str, object] = {
        "trainings": len(rewards),
        "hopeless": int(hopeless.sum()),
        "area_under_curve": round(area_under_curve(gradient, hopeless), 2),
    }
    for threshold in (0.0, LEAST_BOX_GRADIENT, 0.2, 0.3):
        out = gradient <= threshold
        row[f"out at {threshold}"] = {
            "of the hopeless": round(float(out[hopeless].mean()), 2),
            "of the others": round(float(out[~hopeless].mean()), 2),
            "of the best quarter": round(float(out[best].mean()), 2),
        }
    return row


def main() -> None:
    """Judge, print, and record."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    rows = [row for name in (*UNSCREENED, *SCREENED) for row in judge(name)]
    print(*rows, sep="\n")
    print(write_record("screen", CODE, {"hopeless_below": HOPELESS, "searches": rows}))


if __name__ == "__main__":
    main()
