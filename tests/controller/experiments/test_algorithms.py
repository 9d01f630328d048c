"""The contract of every search algorithm: what `paploss.controller.search.algorithm.Algorithm` demands."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest

from paploss.client.algorithms import (
    AlgorithmSettings,
    CmaSettings,
    GuidedSettings,
    PaperSettings,
    PpoSettings,
    RandomSettings,
)
from paploss.controller.experiments.algorithms import create
from paploss.controller.search.algorithm import NOTHING_KNOWN, Algorithm, History, Sample
from paploss.controller.search.guided import Guided
from paploss.controller.search.paper import Paper
from paploss.controller.search.ppo import Ppo
from paploss.controller.search.random_search import RandomSearch
from paploss.controller.search.scheduling import SearchSchedule
from paploss.controller.search.space import Space

SPACE = Space(("bbox_head",), knots=2)
ROUNDS = 12
SETTINGS = get_args(get_args(AlgorithmSettings)[0])
WITH_LENGTHS = [settings for settings in SETTINGS if settings.learns_from_lengths]
LEARNING = [settings for settings in SETTINGS if settings().name != "random"]


@pytest.fixture(params=SETTINGS, ids=lambda settings: settings().name)
def algorithm(request: pytest.FixtureRequest) -> Algorithm[Any]:
    return create(request.param(), ROUNDS)


def test_the_defaults_of_the_settings_are_those_of_the_algorithms() -> None:
    assert create(PpoSettings(), 40) == Ppo(40, first_sigma=0.2, last_sigma=0.1, clip=0.4, learning_rate=0.01) == Ppo()
    assert create(GuidedSettings(), 40) == Guided(40, first_sigma=0.2, last_sigma=0.1) == Guided()
    assert create(PaperSettings(), 40) == Paper()
    assert create(RandomSettings(), 40) == RandomSearch(sigma=0.2) == RandomSearch()
    assert Ppo().max_staleness == SearchSchedule(mode="stream", rounds=1, trials_per_round=2).max_staleness == 16


def distance_reward(theta: np.ndarray) -> float:
    return float(0.3 - 0.3 * ((theta - 0.7) ** 2).mean())


def play_round(
    algorithm: Algorithm[Any], state: Any, seed: int = 1, count: int = 8, history: History = NOTHING_KNOWN
) -> list[Sample[Any]]:
    """Trials of one version, each proposed when the ones before it are under way."""
    samples: list[Sample[Any]] = []
    for index in range(count):
        pending = tuple(sample.theta for sample in samples)
        known = replace(history, pending=pending, proposed=history.proposed + index)
        theta = algorithm.propose(state, seed, index, known)
        samples.append(Sample(theta, distance_reward(theta), state, seed=index % 4))
    return samples


def after(history: History, samples: Sequence[Sample[Any]]) -> History:
    """What is known once an update has consumed these."""
    finished = [replace(sample, proposed_by=None, consumed_by=sample.proposed_by.version) for sample in samples]
    return History((*history.finished, *finished), (), history.proposed + len(samples))


def search(algorithm: Algorithm[Any], seed: int = 1) -> tuple[Any, list[float], History]:
    state, history = algorithm.initial_state(SPACE), NOTHING_KNOWN
    means = []
    for _ in range(ROUNDS):
        samples = play_round(algorithm, state, seed, history=history)
        means.append(float(np.mean([sample.reward for sample in samples])))
        state, history = algorithm.update(state, samples), after(history, samples)
    return state, means, history


@cache
def searched(algorithm: Algorithm[Any]) -> tuple[Any, list[float], History]:
    """A search that several tests look at, none of which changes it."""
    return search(algorithm)


def through_json(algorithm: Algorithm[Any], state: Any) -> Any:
    return algorithm.load(json.loads(json.dumps(algorithm.dump(state))))


def copied(history: History) -> History:
    """The same history as another process reads it."""
    finished = tuple(replace(sample, theta=np.array(sample.theta.tolist())) for sample in history.finished)
    return replace(history, finished=finished, pending=tuple(np.array(theta) for theta in history.pending))


def expect_close(algorithm: Algorithm[Any], state: Any, expected: Any, **tolerance: float) -> None:
    found, wanted = (algorithm.dump(each) for each in (state, expected))
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if isinstance(value, dict):
            assert found[name] == value
        else:
            np.testing.assert_allclose(found[name], value, **tolerance, err_msg=name)


def test_the_start_is_version_0_and_guesses_around_the_identity(algorithm):
    state = algorithm.initial_state(SPACE)
    assert state.version == 0
    assert np.abs(algorithm.best_guess(state) - SPACE.start()).max() < 0.15


def test_cma_learns_as_soon_as_a_population_has_finished():
    algorithm = create(CmaSettings(population=4), ROUNDS)
    state = algorithm.initial_state(SPACE)
    samples = play_round(algorithm, state, count=4)
    guesses = [algorithm.best_guess(state, after(NOTHING_KNOWN, samples[:count])) for count in (3, 4)]
    assert [bool((guess != SPACE.start()).any()) for guess in guesses] == [False, True]


def test_cma_proposes_no_theta_again_in_a_later_version_of_the_same_population():
    algorithm = create(CmaSettings(population=4), ROUNDS)
    state = algorithm.initial_state(SPACE)
    samples = play_round(algorithm, state, count=2)
    known = after(NOTHING_KNOWN, samples)
    thetas = {algorithm.propose(each, 1, 0, known).tobytes() for each in (state, algorithm.update(state, samples))}
    assert len(thetas) == 2


def test_equal_seeds_give_equal_searches(algorithm):
    first, first_means, _ = search(algorithm)
    second, second_means, _ = search(algorithm)
    assert algorithm.dump(first) == algorithm.dump(second)
    assert first_means == second_means
    assert search(algorithm, seed=2)[1] != first_means


def test_every_theta_lies_in_the_box_also_after_many_rounds(algorithm):
    state, _, history = searched(algorithm)
    for index in range(50):
        SPACE.check(algorithm.propose(state, 5, index, history))
    SPACE.check(algorithm.best_guess(state, history))


def test_proposals_may_be_asked_for_in_any_order_and_again(algorithm):
    state, _, history = searched(algorithm)
    thetas = [algorithm.propose(state, 5, index, history) for index in range(4)]
    for index in (3, 1, 0, 2, 3):
        again = algorithm.propose(through_json(algorithm, state), 5, index, copied(history))
        np.testing.assert_array_equal(again, thetas[index])
    assert len({theta.tobytes() for theta in thetas}) == 4


def test_an_update_continues_from_a_state_that_went_through_json(algorithm):
    state = algorithm.initial_state(SPACE)
    samples = play_round(algorithm, state)
    stored = through_json(algorithm, state)
    assert algorithm.dump(stored) == algorithm.dump(state)
    restored = [Sample(np.array(s.theta.tolist()), s.reward, stored) for s in samples]
    updated = algorithm.update(state, samples)
    assert algorithm.dump(algorithm.update(stored, restored)) == algorithm.dump(updated)


def test_an_update_moves_the_version_on_by_one_and_keeps_its_arguments(algorithm):
    state = algorithm.initial_state(SPACE)
    samples = play_round(algorithm, state)
    before = (json.dumps(algorithm.dump(state)), [sample.theta.copy() for sample in samples])
    assert algorithm.update(state, samples).version == 1
    assert json.dumps(algorithm.dump(state)) == before[0]
    for sample, theta in zip(samples, before[1], strict=True):
        np.testing.assert_array_equal(sample.theta, theta)


def test_the_order_of_rewards_does_not_matter(algorithm):
    state = algorithm.initial_state(SPACE)
    samples = play_round(algorithm, state)
    expect_close(algorithm, algorithm.update(state, samples[::-1]), algorithm.update(state, samples), rtol=1e-9)


@pytest.mark.parametrize("settings", LEARNING, ids=lambda settings: settings().name)
def test_a_learning_algorithm_improves_on_a_simple_objective(settings):
    algorithm = create(settings(), ROUNDS)
    state, means, history = searched(algorithm)
    assert np.mean(means[-3:]) > np.mean(means[:3])
    assert distance_reward(algorithm.best_guess(state, history)) > distance_reward(SPACE.start()) + 0.005


def test_random_guesses_the_best_of_its_whole_samples():
    algorithm = create(RandomSettings(), ROUNDS)
    state, _, history = searched(algorithm)
    best = max(history.finished, key=lambda sample: sample.reward)
    np.testing.assert_array_equal(algorithm.best_guess(state, history), best.theta)
    half = replace(best, theta=SPACE.start(), reward=best.reward + 1, length=0.5)
    with_half = replace(history, finished=(*history.finished, half))
    np.testing.assert_array_equal(algorithm.best_guess(state, with_half), best.theta)


@pytest.mark.parametrize("reward", [0.0, 0.1])
def test_equal_rewards_leave_the_best_guess_of_the_same_spread_where_it_is(algorithm, reward):
    state = algorithm.initial_state(SPACE)
    samples = [Sample(sample.theta, reward, state) for sample in play_round(algorithm, state, count=3)]
    drawn, updated = algorithm.distribution(state), algorithm.distribution(algorithm.update(state, samples))
    if drawn is not None and updated is not None:
        np.testing.assert_allclose(updated.centre, drawn.centre, rtol=1e-12)


def test_updates_go_on_after_the_planned_rounds(algorithm):
    state, _, history = searched(algorithm)
    state = algorithm.update(state, play_round(algorithm, state, history=history))
    assert state.version == ROUNDS + 1


def test_samples_on_the_edge_of_the_box_are_learnt_from(algorithm):
    state = algorithm.initial_state(SPACE)
    corners = [np.zeros(SPACE.dimension), np.ones(SPACE.dimension)]
    samples = [Sample(corner, reward, state) for corner, reward in zip(corners, [0.1, 0.3], strict=True)]
    history = replace(after(NOTHING_KNOWN, samples * 10), pending=tuple(corners))
    updated = algorithm.update(state, samples)
    SPACE.check(algorithm.propose(updated, 0, 0, history))
    SPACE.check(algorithm.best_guess(updated, history))


def test_samples_that_no_state_proposed_are_taken(algorithm):
    state = algorithm.initial_state(SPACE)
    samples = [*play_round(algorithm, state), Sample(SPACE.start(), 0.2, None)]
    updated = algorithm.update(state, samples)
    assert updated.version == 1
    SPACE.check(algorithm.best_guess(updated))


def test_what_is_drawn_is_a_centre_in_the_box_and_a_spread_above_0(algorithm):
    state, _, _ = searched(algorithm)
    drawn = algorithm.distribution(state)
    if drawn is not None:
        SPACE.check(drawn.centre)
        assert drawn.spread > 0


def test_fewer_than_two_rewards_are_refused(algorithm):
    state = algorithm.initial_state(SPACE)
    with pytest.raises(ValueError, match="an update needs at least 2 rewards, got 1"):
        algorithm.update(state, play_round(algorithm, state, count=1))


@pytest.mark.parametrize("reward", [np.nan, np.inf])
def test_rewards_that_are_not_finite_are_refused(algorithm, reward):
    state = algorithm.initial_state(SPACE)
    samples = [*play_round(algorithm, state, count=2), Sample(SPACE.start(), reward, state)]
    with pytest.raises(ValueError, match=r"samples\[2\].reward: expected a finite number"):
        algorithm.update(state, samples)


def test_a_theta_of_another_space_is_refused(algorithm):
    state = algorithm.initial_state(SPACE)
    samples = [Sample(np.zeros(3), 0.1, state)] * 2
    with pytest.raises(ValueError, match=r"samples\[0\].theta: expected shape \(21,\), got \(3,\)"):
        algorithm.update(state, samples)


def test_a_sample_of_a_later_version_is_refused(algorithm):
    state = algorithm.initial_state(SPACE)
    samples = play_round(algorithm, algorithm.update(state, play_round(algorithm, state)))
    with pytest.raises(ValueError, match=r"samples\[0\].proposed_by: expected a version up to 0, got 1"):
        algorithm.update(state, samples)


@pytest.mark.parametrize("settings", [each for each in LEARNING if "stream" in each.modes])
def test_samples_of_earlier_versions_are_learnt_from_in_stream_mode(settings):
    algorithm = create(settings(), ROUNDS)
    first = algorithm.initial_state(SPACE)
    second = algorithm.update(first, play_round(algorithm, first))
    early, late = play_round(algorithm, first), play_round(algorithm, first, seed=2)
    late = [replace(sample, reward=sample.reward + 0.01 * place) for place, sample in enumerate(late)]
    known = after(NOTHING_KNOWN, early)
    before = algorithm.best_guess(second, known)
    assert (algorithm.best_guess(algorithm.update(second, late), after(known, late)) != before).any()


def test_settings_reach_the_algorithm():
    wide, narrow = (create(PpoSettings(first_sigma=sigma), 4) for sigma in (0.4, 0.05))
    spreads = [drawn.spread for each in (wide, narrow) if (drawn := each.distribution(each.initial_state(SPACE)))]
    assert spreads == [0.4, 0.05]


SPACES = {
    space.dimension: space
    for space in (
        Space(("bbox_head",)),
        Space(("bbox_head",), searched_rate=True),
        Space(("bbox_head",), family="box_terms"),
        Space(("bbox_head",), family="extended"),
        Space(("bbox_head",), family="extended", searched_rate=True),
        Space(("rpn_head", "bbox_head")),
        Space(("rpn_head", "bbox_head"), family="extended"),
    )
}


@pytest.mark.parametrize("dimension", [41, 42, 43, 44, 45, 82, 88])
def test_every_space_that_is_searched_is_searched_alike(algorithm, dimension):
    space, target = SPACES[dimension], np.linspace(0.1, 0.9, dimension)
    state = algorithm.initial_state(space)
    history = NOTHING_KNOWN
    for _ in range(3):
        thetas: list[np.ndarray] = []
        for index in range(8):
            known = History(history.finished, tuple(thetas), history.proposed + index)
            thetas.append(space.check(algorithm.propose(state, 1, index, known)))
        samples = [Sample(theta, -float(((theta - target) ** 2).mean()), state) for theta in thetas]
        history = History((*history.finished, *samples), (), history.proposed + 8)
        state = through_json(algorithm, algorithm.update(state, samples))
    guess = space.decode(algorithm.best_guess(state, history))
    assert set(guess) == set(space.heads)
    assert len({theta.tobytes() for theta in thetas}) == 8
    assert all((np.ptp([theta[d] for theta in thetas]) > 0) for d in range(dimension))


def trained_shorter(samples: Sequence[Sample[Any]], lack: float) -> tuple[Sample[Any], ...]:
    """Every other one as a training of half the length, whose rewards lack so much."""
    return tuple(
        replace(sample, length=0.5, reward=sample.reward - lack) if place % 2 else sample
        for place, sample in enumerate(samples)
    )


@pytest.mark.parametrize("settings", WITH_LENGTHS, ids=lambda settings: settings().name)
def test_what_shorter_trainings_lack_to_the_end_is_no_merit_of_the_others(settings):
    """A model that took all rewards for alike would find whatever trained longer the better."""
    algorithm = create(settings(), ROUNDS)
    state, _, history = searched(algorithm)
    proposed, guessed = [], []
    for lack in (0.01, 0.1):
        known = replace(history, finished=trained_shorter(history.finished, lack))
        proposed.append([algorithm.propose(state, 5, index, known) for index in range(3)])
        guessed.append(algorithm.best_guess(state, known))
    np.testing.assert_allclose(proposed[0], proposed[1], atol=1e-6)
    np.testing.assert_allclose(guessed[0], guessed[1], atol=1e-6)


@pytest.mark.parametrize("settings", WITH_LENGTHS, ids=lambda settings: settings().name)
def test_proposals_come_from_a_search_in_which_no_training_is_whole_yet(settings):
    algorithm = create(settings(), ROUNDS)
    state, _, history = searched(algorithm)
    short = replace(history, finished=tuple(replace(sample, length=0.25) for sample in history.finished))
    for index in range(3):
        SPACE.check(algorithm.propose(state, 5, index, short))
    SPACE.check(algorithm.best_guess(state, short))


def test_a_loss_that_was_promoted_counts_once_among_the_best():
    """The elites are losses: the best of them must not crowd the others out by having trained several times."""
    algorithm = create(GuidedSettings(), ROUNDS)
    state, _, history = searched(algorithm)
    best = max(history.finished, key=lambda sample: sample.reward)
    again = replace(history, finished=(*history.finished, *[best] * 8))
    once, often = (algorithm.best_guess(state, known) for known in (history, again))
    assert np.abs(once - best.theta).max() > 0.05
    assert np.abs(often - best.theta).max() > 0.05
