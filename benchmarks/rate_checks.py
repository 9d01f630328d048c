"""What a check of learning rates loses to the best rate: `python -m benchmarks.rate_checks [--checks N]`.

Simulated, with mean AP at half, once and twice the profile's rate and the noise of a training as the recorded
comparisons show them. Losses that collapse hardly learn with some seeds. Three rules:

highest of one      one training at each rate, the highest AP
highest mean of two two trainings at each rate, the highest mean
ahead with each     the platform's: another rate than the profile's has to be ahead of it with each of two seeds
"""

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.record import write_record
from paploss.client.comparison import RateResult
from paploss.client.specs import RATE_FACTORS
from paploss.controller.experiments.rate_checks import choose_rate, next_checks

CODE = ("controller/experiments/rate_checks.py", "benchmarks/rate_checks.py")
SEEDS = (0, 1)
COLLAPSED = 2.0
"""AP of a training that hardly learns."""


@dataclass(frozen=True)
class Case:
    """A loss at RATE_FACTORS; AP in percent."""

    name: str
    means: tuple[float, float, float]
    noise: float
    """Standard deviation of a training; half of it is common to all trainings of a seed on top."""
    collapsing: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Share of the seeds that hardly learn."""


CASES = (
    Case("raccoons, found: collapses at twice the rate", (19.0, 21.7, 16.0), 2.5, (0.0, 0.0, 0.4)),
    Case("raccoons, level", (21.0, 22.0, 21.0), 2.5),
    Case("raccoons, twice is better by 2", (18.0, 20.0, 22.0), 2.5),
    Case("blood cells, once is the best", (34.6, 37.4, 36.5), 0.9),
    Case("blood cells, twice is better by 1.9", (32.7, 35.4, 37.3), 0.9),
    Case("blood cells, twice is better by 0.7", (33.8, 35.9, 36.6), 0.9),
)


def main() -> None:
    """Simulate, print, and record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checks", type=int, default=4000, help="of each case")
    checks = parser.parse_args().checks
    rows = [study(case, checks) for case in CASES]
    for row in rows:
        print(*row.values(), sep="  ")
    print(write_record("rate-checks", CODE, {"checks": checks, "ap_lost": rows}))


def study(case: Case, checks: int) -> dict[str, Any]:
    """Mean AP that each rule loses to the best rate, and the trainings that the platform's takes."""
    generator = np.random.default_rng(0)
    truth = [mean * (1 - share) + COLLAPSED * share for mean, share in zip(case.means, case.collapsing, strict=True)]
    lost = {"highest of one": 0.0, "highest mean of two": 0.0, "ahead with each": 0.0}
    trainings = 0
    for _ in range(checks):
        common = generator.normal(0, case.noise / 2, len(SEEDS))
        learned = (
            np.array(case.means)[:, None] + common + generator.normal(0, case.noise, (len(RATE_FACTORS), len(SEEDS)))
        )
        collapsed = generator.random(learned.shape) < np.array(case.collapsing)[:, None]
        rewards = np.where(collapsed, COLLAPSED, learned).clip(0, 100) / 100
        results = [RateResult(factor=f, ap=rewards[place, 0], seed=0) for place, f in enumerate(RATE_FACTORS)]
        more = next_checks(results, SEEDS, 1)
        results += [RateResult(factor=f, ap=rewards[RATE_FACTORS.index(f), seed], seed=seed) for f, seed in more]
        trainings += len(results)
        chosen = {
            "highest of one": int(rewards[:, 0].argmax()),
            "highest mean of two": int(rewards.mean(axis=1).argmax()),
            "ahead with each": RATE_FACTORS.index(choose_rate(results, 1)),
        }
        for rule, place in chosen.items():
            lost[rule] += (max(truth) - truth[place]) / checks
    return {
        "case": case.name,
        **{rule: round(ap, 2) for rule, ap in lost.items()},
        "trainings": round(trainings / checks, 1),
    }


if __name__ == "__main__":
    main()
