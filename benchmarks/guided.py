"""How many trainings `guided` saves, and what its proposals cost: `python -m benchmarks.guided [--searches N]`.

The simulated landscapes of `benchmarks.search` (AP in percent) under the real scheduling code, eight trainings at a
time. The pick is the algorithm's best guess, as it would be confirmed. Costs are processor seconds on one thread. Each
constant of the algorithm is also set to about half and twice its value, on the same landscapes: how much they matter.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import write_record
from benchmarks.search import Cliff, Objective, Valley, noisy, standard_error
from benchmarks.simulation import Fleet, Run, Trial, simulate
from paploss.controller.search import guided
from paploss.controller.search.algorithm import Algorithm, History, Sample, StateT
from paploss.controller.search.guided import Guided
from paploss.controller.search.paper import Paper
from paploss.controller.search.ppo import Ppo
from paploss.controller.search.random_search import RandomSearch
from paploss.controller.search.scheduling import SearchSchedule
from paploss.controller.search.screen import passes
from paploss.controller.search.space import Space, Vector
from paploss.controller.search.version_state import VersionState

CODE = ("controller/search", "benchmarks/simulation.py", "benchmarks/search.py", "benchmarks/guided.py")
SPACE = Space(("bbox_head",))
HEADS = {41: SPACE, 82: Space(("rpn_head", "bbox_head"))}


@dataclass(frozen=True)
class Variant:
    """An algorithm with its schedule."""

    name: str
    make: Callable[[int], Algorithm[Any]]
    schedule: SearchSchedule


def rounds_of_8(rounds: int) -> SearchSchedule:
    """As the paper searches."""
    return SearchSchedule(mode="round", rounds=rounds, trials_per_round=8)


ASYNCHRONOUS = SearchSchedule(mode="stream", rounds=50, trials_per_round=2)
VARIANTS = (
    Variant("guided", Guided, ASYNCHRONOUS),
    Variant("random", lambda _: RandomSearch(), rounds_of_8(12)),
    Variant("ppo", Ppo, rounds_of_8(12)),
    Variant("ppo", Ppo, rounds_of_8(40)),
    Variant("paper", Paper, rounds_of_8(40)),
)
CHANGES: tuple[tuple[str, object], ...] = (
    ("_FIRST_TRIALS", 8),
    ("_FIRST_TRIALS", 32),
    ("_ELITES", (8, 12)),
    ("_ELITES", (32, 48)),
    ("_CANDIDATES", 75),
    ("_CANDIDATES", 300),
    ("_MOVED_SHARES", (0.25,)),
    ("_MOVED_SHARES", (1.0,)),
    ("_BOLDNESS", 0.0),
    ("_BOLDNESS", 0.25),
    ("_BOLDNESS", 1.0),
)


def play(algorithm: Algorithm[StateT], run: Run, objective: Objective, seed: int) -> Vector:
    """The best guess [D] of a simulated search."""
    state, history = explore(algorithm, run, objective, seed)
    return algorithm.best_guess(state, history)


def guess(algorithm: Algorithm[StateT], state: StateT, history: History, updates: int) -> Vector:
    """The best guess [D] that it had after so many updates; for an algorithm that learns from the history."""
    known = tuple(each for each in history.finished if each.consumed_by is not None and each.consumed_by < updates)
    return algorithm.best_guess(state, replace(history, finished=known))


def explore(
    algorithm: Algorithm[StateT], run: Run, objective: Objective, seed: int, space: Space = SPACE
) -> tuple[StateT, History]:
    """A simulated search; each trial is proposed from what was known then."""
    generator = np.random.default_rng((1, seed))
    states = [algorithm.initial_state(space)]
    thetas: dict[int, Vector] = {}
    finished: list[list[Sample[StateT]]] = []

    def known(version: int, number: int) -> History:
        done = {trial.index for trials in run.updates[:version] for trial in trials}
        pending = tuple(thetas[index] for index in range(number) if index not in done)
        return History(tuple(sample for samples in finished[:version] for sample in samples), pending, number)

    def learn(trials: list[Trial]) -> None:
        rewards = noisy(objective, np.stack([thetas[trial.index] for trial in trials]), generator) / 100
        samples = [
            Sample(thetas[t.index], float(r), states[t.version], t.index % 4, consumed_by=len(finished))
            for t, r in zip(trials, rewards, strict=True)
        ]
        states.append(algorithm.update(states[-1], samples))
        finished.append(samples)

    for trial in sorted((trial for trials in run.updates for trial in trials), key=lambda each: each.index):
        while len(states) <= trial.version:
            learn(run.updates[len(finished)])
        history = known(trial.version, trial.index)
        thetas[trial.index] = algorithm.propose(states[trial.version], seed, trial.index, history)
    while len(finished) < len(run.updates):
        learn(run.updates[len(finished)])
    return states[-1], known(len(run.updates), len(thetas))


def study_budgets(searches: int) -> list[dict[str, object]]:
    """AP of the pick, with standard errors over searches, and the difference to guided on the same landscapes."""
    rows: list[dict[str, object]] = []
    for objective in (Cliff, Valley):
        by_guided = np.zeros(searches)
        for variant in VARIANTS:
            runs = [simulate(variant.schedule, Fleet(workers=8), seed) for seed in range(searches)]
            algorithm = variant.make(variant.schedule.rounds)
            landscapes = [objective(seed) for seed in range(searches)]
            found = find(algorithm, runs, landscapes)
            by_guided = found if variant.name == "guided" else by_guided
            row: dict[str, object] = {
                "objective": objective.name,
                "algorithm": variant.name,
                "trainings": variant.schedule.rounds * variant.schedule.trials_per_round,
                "ap_of_pick": round(float(found.mean()), 2),
                "guided_minus_it": round(float((by_guided - found).mean()), 2),
                "standard_error": standard_error(by_guided - found),
                "trial_times": round(float(np.mean([run.seconds for run in runs])) / 60, 1),
            }
            rows.append(row)
            print(*row.values(), sep="  ", flush=True)
    return rows


def find(algorithm: Algorithm[Any], runs: list[Run], landscapes: Sequence[Objective]) -> NDArray[np.float64]:
    """The noiseless AP of what the algorithm picks on each landscape."""
    searches = zip(runs, landscapes, strict=True)
    return np.array([float(each(play(algorithm, run, each, seed))) for seed, (run, each) in enumerate(searches)])


def study_constants(searches: int) -> list[dict[str, object]]:
    """AP of the pick with one constant changed, minus that of `guided` as it is."""
    rows: list[dict[str, object]] = []
    runs = [simulate(ASYNCHRONOUS, Fleet(workers=8), seed) for seed in range(searches)]
    for objective in (Cliff, Valley):
        landscapes = [objective(seed) for seed in range(searches)]
        as_it_is = find(Guided(ASYNCHRONOUS.rounds), runs, landscapes)
        for name, value in CHANGES:
            with mock.patch.object(guided, name, value):
                guided._learn.cache_clear()  # what it remembers was fitted with other constants
                gain = find(Guided(ASYNCHRONOUS.rounds), runs, landscapes) - as_it_is
            row: dict[str, object] = {
                "objective": objective.name,
                "changed": f"{name} = {value}",
                "gain": round(float(gain.mean()), 2),
                "standard_error": standard_error(gain),
            }
            rows.append(row)
            print(*row.values(), sep="  ", flush=True)
    return rows


def measure_costs() -> list[dict[str, object]]:
    """Of the first proposal after an update, which fits the model, and of the following one."""
    rows: list[dict[str, object]] = []
    for dimension, space in HEADS.items():
        generator = np.random.default_rng(0)
        for count in (100, 300, 1000):
            thetas = generator.normal(space.start(), 0.2, (count, dimension)).clip(0, 1)
            rewards = 0.2 * passes(space, thetas) + 0.01 * generator.normal(size=count)
            samples: list[Sample[VersionState]] = [
                Sample(t, float(r), None, i % 4) for i, (t, r) in enumerate(zip(thetas, rewards, strict=True))
            ]
            history = History(tuple(samples), tuple(thetas[:8]), count + 8)
            algorithm = Guided()
            state = algorithm.initial_state(space)
            times = [time.process_time()]
            for index in range(2):
                algorithm.propose(state, 0, index, history, screened=True)
                times.append(time.process_time())
            first, following = (round(float(seconds), 3) for seconds in np.diff(times))
            rows.append({"dimension": dimension, "finished": count, "first_seconds": first, "next_seconds": following})
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Simulate, measure, print, and record."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--searches", type=int, default=16, help="on each landscape")
    searches = parser.parse_args().searches
    result = {
        "searches": searches,
        "costs": measure_costs(),
        "budgets": study_budgets(searches),
        "constants": study_constants(searches),
    }
    print(write_record("guided", CODE, result))


if __name__ == "__main__":
    main()
