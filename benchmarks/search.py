"""How well the search algorithms search: `python -m benchmarks.search`.

Whole searches on simulated rewards, many times over, and a record in benchmarks/results/search.json. It justifies the
defaults of `paploss.controller.search.ppo` and the rule of `paploss.controller.search.selection`. The rewards imitate
the reference search on real images (AP in percent): the identity reaches about 16, random samples of the start policy
from 0 to 23 with a third of them hopeless, the best loss about 27, and the noise of a training has a standard deviation
of 1.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import write_record
from benchmarks.simulation import Fleet, Run, simulate
from paploss.controller.search import selection
from paploss.controller.search.algorithm import Algorithm, Sample, advantages
from paploss.controller.search.ascent import ascend
from paploss.controller.search.paper import Paper, product_slope
from paploss.controller.search.policy import PolicyState, log_density
from paploss.controller.search.policy_search import PolicySearch
from paploss.controller.search.ppo import Ppo
from paploss.controller.search.random_search import RandomSearch
from paploss.controller.search.scheduling import SearchSchedule
from paploss.controller.search.space import Space, Vector

SPACE = Space(("bbox_head",))
SEEDS = 16
NOISE = 1.0
CODE = ("controller/search", "benchmarks/simulation.py", "benchmarks/search.py")


class Objective(Protocol):
    """A noiseless AP (percent) of theta [..., D]; each seed is another landscape."""

    def __init__(self, seed: int) -> None: ...

    def __call__(self, theta: NDArray[np.float64]) -> NDArray[np.float64]: ...


class Cliff:
    """A few directions in which a training soon fails, over a slow slope towards the best loss."""

    name: ClassVar[str] = "cliff"

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng((99, seed))
        self.start = SPACE.start()
        steepness = generator.normal(size=SPACE.dimension) * np.exp(generator.normal(size=SPACE.dimension))
        self.cliff = 17 * steepness / np.linalg.norm(steepness)
        self.best = generator.uniform(size=SPACE.dimension)
        weight = np.exp(1.5 * generator.normal(size=SPACE.dimension))
        self.weight = 1.8 * weight / (weight * (self.start - self.best) ** 2).sum()

    def __call__(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        offset = theta - self.start
        safety = 1.3 + offset @ self.cliff - 4 * (offset**2 @ np.abs(self.cliff)) / 17
        quality = np.exp(-((theta - self.best) ** 2 @ self.weight))
        return np.asarray((20 + 7 * quality) / (1 + np.exp(-np.clip(safety, -30, 30))))


class Valley:
    """A curved valley in twelve mixed directions: the parameters interact."""

    name: ClassVar[str] = "valley"

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng((5, seed))
        self.best = generator.uniform(size=SPACE.dimension)
        directions = generator.normal(size=(12, SPACE.dimension)) * np.exp(generator.normal(size=SPACE.dimension))
        self.directions = directions * np.sqrt(0.55 / ((directions @ (SPACE.start() - self.best)) ** 2).sum())

    def __call__(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(27 * np.exp(-(((theta - self.best) @ self.directions.T) ** 2).sum(axis=-1)))


@dataclass(frozen=True)
class ProductPpo(PolicySearch):
    """The published product of ratios with one sigma on both sides: what fixing that defect alone does."""

    rounds: int = 40
    last_sigma: float = 0.1
    clip: float = 0.1

    def initial_state(self, space: Space) -> PolicyState:
        return Ppo(self.rounds).initial_state(space)

    def update(self, state: PolicyState, samples: Sequence[Sample[PolicyState]]) -> PolicyState:
        theta = np.stack([sample.theta for sample in samples])
        old, advantage = log_density(theta, state.mu, state.sigma), advantages(samples)

        def slope(mu: Vector) -> Vector:
            return product_slope(mu, theta, advantage, old, sigma=state.sigma, clip=self.clip)

        mu = ascend(state.mu, slope, learning_rate=0.01)
        share = (state.version + 1) / (self.rounds - 1)
        return PolicyState(state.version + 1, mu, 0.2 + min(share, 1.0) * (self.last_sigma - 0.2))


def noisy(objective: Objective, theta: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Rewards (percent): a training that fails has no noise left."""
    ap = objective(theta)
    return np.asarray(np.maximum(ap + NOISE * np.minimum(ap / 5, 1) * generator.normal(size=ap.shape), 0))


def standard_error(values: NDArray[np.float64]) -> float:
    """Of the mean of the values of several searches, to two decimals."""
    return round(float(values.std(ddof=1) / np.sqrt(len(values))), 2)


def play(
    algorithm: Algorithm[PolicyState], run: Run, objective: Objective, seed: int
) -> tuple[PolicyState, list[Sample[PolicyState]]]:
    """The search that the algorithm makes of a simulated run."""
    generator = np.random.default_rng((1, seed))
    states = [algorithm.initial_state(SPACE)]
    samples: list[Sample[PolicyState]] = []
    for trials in run.updates:
        proposers = [states[trial.version] for trial in trials]
        theta = np.stack([algorithm.propose(s, seed, t.index) for s, t in zip(proposers, trials, strict=True)])
        rewards = noisy(objective, theta, generator) / 100
        batch = [Sample(t, float(r), s) for t, r, s in zip(theta, rewards, proposers, strict=True)]
        states.append(algorithm.update(states[-1], batch))
        samples += batch
    return states[-1], samples


def study_algorithms() -> list[dict[str, object]]:
    """Mean AP of the trials and AP of the last mu, with standard errors over seeds."""
    fleet = Fleet(workers=64)
    schedules = {
        "12 rounds of 8": SearchSchedule(mode="round", rounds=12, trials_per_round=8),
        "40 rounds of 8": SearchSchedule(mode="round", rounds=40, trials_per_round=8),
        "40 updates of 8, stream": SearchSchedule(mode="stream", rounds=40, trials_per_round=8),
        "40 updates of 32, stream": SearchSchedule(mode="stream", rounds=40, trials_per_round=32),
    }
    variants: dict[str, Callable[[int], Algorithm[PolicyState]]] = {
        "random": lambda _: RandomSearch(),
        "released": Paper,
        "ppo": Ppo,
        "one sigma, product, clip 0.1": ProductPpo,
        "one sigma, product, clip 0.4": lambda rounds: ProductPpo(rounds, clip=0.4),
        "ppo, clip 0.1": lambda rounds: Ppo(rounds, clip=0.1),
        "ppo, last sigma 0.2": lambda rounds: Ppo(rounds, last_sigma=0.2),
        "ppo, last sigma 0.05": lambda rounds: Ppo(rounds, last_sigma=0.05),
        "ppo, last sigma 0.005": lambda rounds: Ppo(rounds, last_sigma=0.005),
    }
    main_variants = ("random", "released", "ppo")
    rows: list[dict[str, object]] = []
    for objective in (Cliff, Valley):
        for schedule_name, schedule in schedules.items():
            runs = [simulate(schedule, fleet, seed) for seed in range(SEEDS)]
            for variant, make in variants.items():
                if schedule.mode == "stream" and variant not in main_variants:
                    continue
                last, mean = [], []
                for seed, run in enumerate(runs):
                    landscape = objective(seed)
                    state, samples = play(make(schedule.rounds), run, landscape, seed)
                    last.append(float(landscape(state.mu)))
                    mean.append(100 * float(np.mean([sample.reward for sample in samples])))
                row = {
                    "objective": objective.name,
                    "schedule": schedule_name,
                    "algorithm": variant,
                    "ap_of_last_mu": round(float(np.mean(last)), 2),
                    "standard_error": standard_error(np.array(last)),
                    "mean_ap_of_trials": round(float(np.mean(mean)), 2),
                    "minutes": round(float(np.mean([run.seconds for run in runs])) / 60, 1),
                }
                rows.append(row)
                print(*row.values(), sep="  ", flush=True)
    return rows


def study_selection(confirmations: int = 3, repeats: int = 200) -> list[dict[str, object]]:
    """True AP of what rules pick among the policy mean and the two best samples, and how far the reports are off."""
    rows: list[dict[str, object]] = []
    for objective in (Cliff, Valley):
        for rounds in (12, 40):
            schedule = SearchSchedule(mode="round", rounds=rounds, trials_per_round=8)
            found = []
            for seed in range(SEEDS):
                landscape = objective(seed)
                algorithm = Ppo(rounds)
                state, samples = play(algorithm, simulate(schedule, Fleet(workers=8), seed), landscape, seed)
                nominated = selection.candidates(algorithm.best_guess(state), samples, 3)
                truth = landscape(np.stack([candidate.theta for candidate in nominated]))
                luckiest = 100 * max(sample.reward for sample in samples)
                generator = np.random.default_rng((2, seed))
                for _ in range(repeats):
                    rewards = truth[:, None] + NOISE * generator.normal(size=(3, confirmations))
                    choice = selection.choose([dict(enumerate(map(float, row))) for row in rewards])
                    gain = rewards[choice.index] - rewards[0]
                    ahead = gain.mean() > gain.std(ddof=1) / confirmations**0.5
                    found.append(
                        {
                            "highest mean": truth[choice.index],
                            "the mean unless ahead by a standard error": truth[choice.index if ahead else 0],
                            "always the mean": truth[0],
                            "always the luckiest sample": truth[1],
                            "best of the candidates": truth.max(),
                            "excess of the reported mean": choice.mean - truth[choice.index],
                            "excess of the luckiest reward": luckiest - truth[1],
                        }
                    )
            means = {key: round(float(np.mean([entry[key] for entry in found])), 2) for key in found[0]}
            row: dict[str, object] = {"objective": objective.name, "rounds": rounds, **means}
            rows.append(row)
            print(row, flush=True)
    return rows


def main() -> None:
    """Simulate, print, and record."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    result = {"searches": SEEDS, "noise_ap": NOISE, "algorithms": study_algorithms(), "selection": study_selection()}
    print(write_record("search", CODE, result))


if __name__ == "__main__":
    main()
