"""Whether short trainings tell good losses, and what they save: `python -m benchmarks.lengths [--searches N]`.

Protocol, written before anything was computed. Two questions.

1. *Do ranks after a part of a training agree with ranks at its end?* From records, without a new training: every
   training in benchmarks/results that was evaluated on its way and ended. Their learning rates are those of the whole
   schedule, so each evaluation on the way is what a training of that length would have measured. By record and by the
   part that was trained: Spearman's rank correlation over all trainings, and over those in the upper half at the end
   (whether hopeless losses are told apart says little); whether the best one was among the best third on the way
   (`keep: 3`), and how much of the final AP is lost where it was not. Parts that no record has are not estimated.

2. *What is saved at equal quality?* On the simulated landscapes of `benchmarks.search`, under the real scheduling code
   and the real rule of promotion, eight workers. A training of length f measures f^0.3 times the AP, plus the noise of
   a training (sd 1 AP) and a deviation of the loss itself that is drawn once for each loss and length, of a given sd:
   what makes ranks differ however little noise there is. Rank agreement among samples of the start policy is given
   beside each deviation, so that a recorded agreement can be found in the table. Compared at the same cost in whole
   trainings: whole ones alone, lengths 1/2, 1, and lengths 1/4, 1/2, 1, `keep` 3. Measured: true AP of the pick:
   the best guess of `guided`, and the best whole training of `random`.

Lengths would become the default only where, in the records, the best training is among the best third on the way in at
least nine records of ten, and the simulation at the recorded agreement gains more than two standard errors.
"""

import argparse
import gzip
import heapq
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.record import RESULTS, write_record
from benchmarks.search import NOISE, SPACE, Cliff, Objective, Valley, standard_error
from paploss.client.lengths import Lengths
from paploss.controller.search.algorithm import Algorithm, History, Sample, StateT
from paploss.controller.search.guided import Guided
from paploss.controller.search.halving import Rung, count_due
from paploss.controller.search.policy import PolicyState, sample
from paploss.controller.search.random_search import RandomSearch
from paploss.controller.search.scheduling import (
    Finish,
    Promote,
    Propose,
    SearchProgress,
    SearchSchedule,
    Update,
    decide,
)
from paploss.controller.search.space import Vector

CODE = ("controller/search", "benchmarks/search.py", "benchmarks/lengths.py", "paploss/client/lengths.py")
WORKERS = 8
BUDGET = 48
"""In whole trainings."""
TRIALS_PER_ROUND = 2
DEVIATIONS = (0.0, 2.0, 4.0)
"""AP, sd."""
WHOLE = Lengths.model_construct(fractions=(1.0,), keep=3)
VARIANTS = (WHOLE, Lengths(fractions=(0.5, 1.0)), Lengths(fractions=(0.25, 0.5, 1.0)))


# 1. Records


def read_courses(file: Path) -> dict[float, NDArray[np.float64]]:
    """By part of the training: [n, 2], APs there and at the end, of each training that ended."""
    with gzip.open(file, "rt") as lines:
        documents = [json.loads(line) for line in lines]
    measured: dict[str, dict[float, float]] = {}
    for document in documents:
        if document.get("table") == "evaluations":
            row = document["row"]
            measured.setdefault(row["trial_id"], {})[row["iteration"] / row["total_iterations"]] = row["ap"]
        elif document.get("state") == "succeeded":  # a line for each trial, with iterations and APs
            last = document["evaluations"][-1][0]
            measured[str(document["number"])] = {iteration / last: ap for iteration, ap in document["evaluations"]}
    pairs: dict[float, list[tuple[float, float]]] = {}
    for course in measured.values():
        for part, ap in course.items():
            if part < 1 and 1.0 in course:
                pairs.setdefault(round(part, 2), []).append((ap, course[1.0]))
    return {part: np.array(values) for part, values in sorted(pairs.items())}


def study_records() -> list[dict[str, object]]:
    """Rank agreement of each record."""
    rows: list[dict[str, object]] = []
    for file in sorted(RESULTS.rglob("*.jsonl.gz")):
        for part, pairs in read_courses(file).items():
            early, late = pairs.T
            upper = late >= np.median(late)
            kept = np.argsort(-early, kind="stable")[: len(early) // 3]
            rows.append(
                {
                    "record": file.name.removesuffix(".jsonl.gz"),
                    "part": part,
                    "trainings": len(pairs),
                    "spearman": agreement(early, late),
                    "spearman_of_upper_half": agreement(early[upper], late[upper]),
                    "best_is_kept": bool(late.argmax() in kept),
                    "lost_ap": round(100 * float(late.max() - late[kept].max()), 2),
                }
            )
            print(*rows[-1].values(), sep="  ", flush=True)
    return rows


def agreement(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's rank correlation, two digits."""
    return round(float(spearmanr(one, other).statistic), 2)


# 2. Simulation


@dataclass(frozen=True, eq=False)
class Ground:
    """What trainings of a landscape measure."""

    objective: Objective
    deviation: float
    seed: int

    def measure(self, number: int, theta: Vector, length: float) -> float:
        """A fraction; `number`: of the loss, which fixes its deviations and its noise."""
        draw = np.random.default_rng((self.seed, number, round(1000 * length)))
        own = 0.0 if length == 1 else self.deviation * draw.normal()
        return float(length**0.3 * self.objective(theta) + NOISE * draw.normal() + own) / 100


@dataclass(order=True, frozen=True)
class Running:
    """A training under way, by when it ends."""

    end: float
    loss: int
    length: float = field(compare=False)


def play(algorithm: Algorithm[StateT], lengths: Lengths, losses: int, ground: Ground, seed: int) -> Vector:
    """The pick [D] of a search over so many losses."""
    schedule = SearchSchedule(mode="stream", rounds=losses // TRIALS_PER_ROUND, trials_per_round=TRIALS_PER_ROUND)
    state, fractions = algorithm.initial_state(SPACE), lengths.fractions
    thetas: list[Vector] = []
    queue: list[tuple[int, float]] = []
    running: list[Running] = []
    ready: list[tuple[int, float, float]] = []  # loss, length, reward
    carried: list[tuple[int, float, float]] = []
    best: dict[float, list[tuple[float, int]]] = {length: [] for length in fractions}  # that can go on
    rungs = {length: Rung(0, 0) for length in fractions}
    finished: list[Sample[StateT]] = []
    now = 0.0

    def learn(results: Sequence[tuple[int, float, float]]) -> None:
        finished.extend(
            Sample(thetas[loss], reward, None, loss % 4, consumed_by=state.version, length=length)
            for loss, length, reward in results
        )

    while True:
        due = count_due(rungs, fractions, lengths.keep)
        waiting_or_running = [*(length for _, length in queue), *(one.length for one in running)]
        progress = SearchProgress(
            updates=state.version,
            open=len(waiting_or_running),
            ready=len(ready),
            unrewarded=0,
            workers=WORKERS,
            due=sum(due.values()),
            promotions=sum(length > fractions[0] for length in waiting_or_running),
        )
        match decide(schedule, progress):
            case Promote():
                for length, count in due.items():
                    longer = fractions[fractions.index(length) + 1]
                    for _ in range(count):
                        queue.insert(0, (heapq.heappop(best[length])[1], longer))
                    rungs[longer] = replace(rungs[longer], promotions=rungs[longer].promotions + count)
            case Propose(count):
                for _ in range(count):
                    known = {loss for loss, _ in queue} | {one.loss for one in running}
                    pending = tuple(thetas[loss] for loss in sorted(known))
                    theta = algorithm.propose(state, seed, len(thetas), History(tuple(finished), pending, len(thetas)))
                    queue.append((len(thetas), fractions[0]))
                    thetas.append(theta)
            case Update(count):
                samples = [Sample(thetas[loss], reward, state) for loss, _, reward in ready[:count]]
                learn([*ready[:count], *carried])
                state = algorithm.update(state, samples)
                del ready[:count]
                carried.clear()
            case Finish():
                learn(carried)
                if not algorithm.reads_history:
                    return max((one for one in finished if one.length == 1), key=lambda one: one.reward).theta
                return algorithm.best_guess(state, History(tuple(finished), (), len(thetas)))
            case _:
                while queue and len(running) < WORKERS:
                    loss, length = queue.pop(0)
                    begun = ([0.0, *fractions])[fractions.index(length)]
                    heapq.heappush(running, Running(now + length - begun, loss, length))
                ended = heapq.heappop(running)
                now = ended.end
                reward = ground.measure(ended.loss, thetas[ended.loss], ended.length)
                (ready if ended.length == fractions[0] else carried).append((ended.loss, ended.length, reward))
                heapq.heappush(best[ended.length], (-reward, ended.loss))
                rung = rungs[ended.length]
                rungs[ended.length] = replace(rung, ended=rung.ended + 1, able=rung.able + 1)


def count_losses(lengths: Lengths) -> int:
    """How many losses the budget pays for: an even number, for updates of two."""
    return max(
        count for count in range(TRIALS_PER_ROUND, 10 * BUDGET, TRIALS_PER_ROUND) if lengths.measure(count) <= BUDGET
    )


def rank_agreement(objective: type[Objective], deviation: float, length: float) -> float:
    """Between trainings of a length and whole ones, among samples of the start policy."""
    start = PolicyState(0, SPACE.start(), 0.2)
    thetas = [sample(start, 0, index) for index in range(200)]
    ground = Ground(objective(0), deviation, 0)
    short, whole = ([ground.measure(n, theta, part) for n, theta in enumerate(thetas)] for part in (length, 1.0))
    return agreement(np.array(short), np.array(whole))


def study_savings(searches: int) -> list[dict[str, object]]:
    """True AP of the pick at equal cost, and what it gains on whole trainings alone."""
    rows: list[dict[str, object]] = []
    makes: dict[str, Callable[[int], Algorithm[Any]]] = {
        "random": lambda _: RandomSearch(),
        "guided": Guided,
    }
    for objective in (Cliff, Valley):
        for deviation in DEVIATIONS:
            for name, make in makes.items():
                alone = np.zeros(searches)
                for lengths in VARIANTS:
                    losses = count_losses(lengths)
                    found = []
                    for seed in range(searches):
                        landscape = objective(seed)
                        algorithm = make(losses // TRIALS_PER_ROUND)
                        pick = play(algorithm, lengths, losses, Ground(landscape, deviation, seed), seed)
                        found.append(float(landscape(pick)))
                    alone = np.array(found) if lengths is WHOLE else alone
                    gained = np.array(found) - alone
                    row: dict[str, object] = {
                        "objective": objective.name,
                        "deviation": deviation,
                        "spearman_at_half": rank_agreement(objective, deviation, 0.5),
                        "algorithm": name,
                        "lengths": "whole" if lengths is WHOLE else " ".join(f"{each:g}" for each in lengths.fractions),
                        "losses": losses,
                        "ap_of_pick": round(float(np.mean(found)), 2),
                        "gained": round(float(gained.mean()), 2),
                        "standard_error": standard_error(gained),
                    }
                    rows.append(row)
                    print(*row.values(), sep="  ", flush=True)
    return rows


def main() -> None:
    """Compute, print, and record."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--searches", type=int, default=6, help="on each landscape")
    searches = parser.parse_args().searches
    result = {"records": study_records(), "searches": searches, "budget": BUDGET, "savings": study_savings(searches)}
    print(write_record("lengths", CODE, result))


if __name__ == "__main__":
    main()
