"""What guided proposes: recorded searches again from their rows, and by hand what none of them shows."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paploss.controller.experiments.rounds import history_of, propose
from paploss.controller.experiments.starts import learnt_from, starting_points
from paploss.controller.search import guided
from paploss.controller.search.algorithm import History, Sample
from paploss.controller.search.guided import Guided, _by_length, _centroid, _choose_rows, _raise_to_floor
from paploss.controller.search.space import Space, Vector
from paploss.controller.search.version_state import VersionState
from paploss.controller.store.documents import SPEC
from paploss.controller.store.rounds import ProposedTrial

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
SPACE = Space(("bbox_head",))


class Recorded:
    """A recorded search, as its rows tell it."""

    def __init__(self, name: str) -> None:
        with gzip.open(RESULTS / f"{name}.jsonl.gz", "rt") as lines:
            rows = [json.loads(line) for line in lines]
        search = next(each["row"] for each in rows if each.get("table") == "searches")
        trials = [each["row"] for each in rows if each.get("table") == "trials"]
        self.spec: Any = SPEC.read(search["spec"])
        self.trials = sorted((each for each in trials if each["kind"] == "proxy"), key=lambda each: each["number"])
        self.guess = next(each["theta"] for each in trials if each["label"] == "mean")
        earlier = tuple(learnt_from(each) for each in search.get("earlier") or ())
        starts = tuple(tuple(theta.tolist()) for theta in starting_points(self.spec))
        self.algorithm = Guided(self.spec.rounds, starts=starts, earlier=earlier)

    def known(self, number: int, version: int) -> History:
        """What the algorithm knew before it proposed a trial."""
        return history_of([_as_known(each, version) for each in self.trials if each["number"] < number])

    def propose(self, number: int) -> Vector:
        """The trial of this number, proposed anew."""
        trial = self.trials[number]
        state, known = VersionState(trial["round"], SPACE), self.known(number, trial["round"])
        return propose(self.algorithm, state, self.spec, trial["index"], known).theta


def _as_known(trial: dict[str, Any], version: int) -> ProposedTrial:
    """A trial as it was when a version proposed: what that one or a later one has consumed was not known yet."""
    consumed = trial["consumed_round"]
    return ProposedTrial(
        theta=trial["theta"],
        reward=trial["reward"],
        seed=trial["seed"],
        succeeded=trial["state"] == "succeeded",
        consumed_by=consumed if consumed is not None and consumed < version else None,
        length=trial.get("length", 1.0),  # older records have none
        is_promotion=trial["derived_from"] is not None,
    )


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("evidence/retinanet-tiny-bccd-guided-seed-0", (0, 2, 15, 16, 60, 99)),
        ("trained-lengths/retinanet-tiny-bccd-guided-seed-0-lengths-1-2-and-1", (31, 195)),
        ("transfer/retinanet-tiny-raccoon-guided-seed-0-from-1m8dcbkjgwfcd", (0, 1, 2, 20)),
    ],
)
def test_recorded_searches_are_proposed_again_from_their_rows(name: str, numbers: tuple[int, ...]) -> None:
    """Evidence stays evidence of this program: another proposal is another search, which has not been measured."""
    recorded = Recorded(name)
    for number in numbers:
        expected = recorded.trials[number]["theta"]
        np.testing.assert_allclose(recorded.propose(number), expected, atol=1e-6, err_msg=f"trial {number}")
    after = recorded.spec.rounds + 1  # promotions that no update was waiting for are known to the guess
    known = recorded.known(len(recorded.trials), after)
    guess = recorded.algorithm.best_guess(VersionState(after, SPACE), known)
    np.testing.assert_allclose(guess, recorded.guess, atol=1e-6)


def sample(reward: float, **fields: Any) -> Sample[Any]:
    return Sample(SPACE.start(), reward, None, **fields)


def test_what_was_stopped_and_what_is_far_below_the_median_count_as_the_floor() -> None:
    """The floor is two and a half times as far below the median as the best tenth is above it, at least 2.5 AP."""
    spread = [sample(reward) for reward in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.62, 0.64, 0.66, 0.68)]
    np.testing.assert_allclose(_raise_to_floor(spread)[:4], [10, 10, 20, 30])  # 50 - 2.5 * (66 - 50)
    alike = [sample(0.2), sample(0.3), sample(0.3), sample(0.3, complete=False)]
    np.testing.assert_allclose(_raise_to_floor(alike), [27.5, 30, 30, 27.5])


def test_a_centroid_is_of_the_first_third_at_most_the_better_ones_weighing_more() -> None:
    thetas = np.eye(12)
    first, second = np.log(2.5), np.log(2.5 / 2)
    np.testing.assert_allclose(_centroid(thetas, 2)[:3] * (first + second), [first, second, 0])
    assert np.count_nonzero(_centroid(thetas, 24)) == 4
    np.testing.assert_array_equal(_centroid(thetas[:2], 24), thetas[0])


def test_of_very_many_trials_the_newest_and_the_best_of_the_others_are_learnt_from() -> None:
    many = [sample(number % 2 + number / 1000, seed=number) for number in range(400)]
    assert _choose_rows(many[:300]) == many[:300]
    kept = [each.seed for each in _choose_rows(many)]
    assert kept == [number for number in range(250) if number % 2 or number >= 200] + list(range(250, 400))


def test_whole_trainings_come_first_even_where_there_are_none_and_shorter_ones_are_noisier() -> None:
    quarter, half = sample(0.1, length=0.25), sample(0.2, length=0.5)
    found = [(group.noise, group.samples, group.search) for group in _by_length([quarter, half, quarter])]
    assert found == [(1, [], 0), (2, [half], 0), (4, [quarter, quarter], 0)]


def test_before_there_is_a_model_the_best_trial_of_any_search_is_the_guess() -> None:
    own, other = (Sample(np.full(SPACE.dimension, share), share, None) for share in (0.2, 0.3))
    state = Guided().initial_state(SPACE)
    np.testing.assert_array_equal(Guided().best_guess(state, History((own,))), own.theta)
    np.testing.assert_array_equal(Guided(earlier=((other,),)).best_guess(state, History((own,))), other.theta)
    np.testing.assert_array_equal(Guided().best_guess(state), SPACE.start())
    half = Sample(other.theta, other.reward, None, length=0.5)  # which tells less than a whole training
    np.testing.assert_array_equal(Guided().best_guess(state, History((half, own))), own.theta)


def history(count: int) -> History:
    """Of so many trials around the start, the better the greater their mean."""
    thetas = np.random.default_rng(0).normal(SPACE.start(), 0.2, (count, SPACE.dimension)).clip(0, 1)
    return History(tuple(Sample(theta, theta.mean(), None) for theta in thetas), (), 80)


def test_eight_trials_make_a_model() -> None:
    state = VersionState(2, SPACE)
    for count in (7, 8):
        known = history(count)
        best = max(known.finished, key=lambda each: each.reward).theta
        assert np.array_equal(Guided().best_guess(state, known), best) == (count == 7)


@pytest.mark.parametrize(("passing", "only_those"), [(20, False), (21, True)])
def test_candidates_that_fail_the_screen_are_left_out_where_more_than_twenty_pass(
    monkeypatch: pytest.MonkeyPatch, passing: int, only_those: bool
) -> None:
    asked: list[Vector] = []

    def pass_first(_space: Space, thetas: Vector) -> Vector:
        asked.append(thetas)
        return np.arange(len(thetas)) < passing

    monkeypatch.setattr(guided, "passes", pass_first)
    among = []
    for index in range(4):
        theta = Guided().propose(VersionState(2, SPACE), 0, index, history(40), screened=True)
        among.append((asked[-1][:passing] == theta).all(axis=1).any())
    assert all(among) == only_those


@pytest.mark.parametrize("sigma", [0.2, 2.0])
def test_candidates_beyond_an_end_come_back_from_it(sigma: float) -> None:
    """At the ends themselves nothing is to be learnt of where to go; only what comes back too far stays there."""
    for end in (0.0, 1.0):
        corners = np.full((60, SPACE.dimension), abs(end - 0.02))
        algorithm = Guided(first_sigma=sigma)
        model = guided._Model(None, corners)  # type: ignore[arg-type]
        thetas = algorithm._candidates(VersionState(0, SPACE), model, np.random.default_rng(0))
        assert thetas.min() >= 0
        assert thetas.max() <= 1
        assert sigma > 1 or not (thetas == end).any()
