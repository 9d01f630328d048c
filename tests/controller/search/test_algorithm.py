"""The contract of every search algorithm: what `paploss.controller.search.algorithm.Algorithm` demands."""

import json

import numpy as np
import pytest
from paploss.controller.search.catalogue import NAMES, create

from paploss.controller.search.algorithm import Algorithm, Sample
from paploss.controller.search.policy import PolicyState
from paploss.controller.search.space import Space

SPACE = Space(("bbox_head",), knots=2)
ROUNDS = 12


@pytest.fixture(params=NAMES)
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    return create(request.param, ROUNDS)


def distance_reward(theta: np.ndarray) -> float:
    return float(0.3 - 0.3 * ((theta - 0.7) ** 2).mean())


def play_round(algorithm: Algorithm, state: PolicyState, seed: int = 1, count: int = 8) -> list[Sample]:
    thetas = [algorithm.propose(state, seed, index) for index in range(count)]
    return [Sample(theta, distance_reward(theta), state) for theta in thetas]


def search(algorithm: Algorithm, seed: int = 1) -> tuple[PolicyState, list[float]]:
    state = algorithm.initial_state(SPACE)
    means = []
    for _ in range(ROUNDS):
        samples = play_round(algorithm, state, seed)
        means.append(float(np.mean([sample.reward for sample in samples])))
        state = algorithm.update(state, samples)
    return state, means


def test_every_name_makes_the_algorithm_of_that_name(algorithm, request):
    assert algorithm.name == request.node.callspec.params["algorithm"]


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="algorithm: expected one of ppo, released, random, got 'sgd'"):
        create("sgd", 40)


def test_the_start_is_the_identity(algorithm):
    state = algorithm.initial_state(SPACE)
    assert state.version == 0
    np.testing.assert_allclose(state.mu, SPACE.start(), atol=1e-4)


def test_equal_seeds_give_equal_searches(algorithm):
    first, first_means = search(algorithm)
    second, second_means = search(algorithm)
    np.testing.assert_array_equal(first.mu, second.mu)
    assert first_means == second_means
    assert search(algorithm, seed=2)[1] != first_means


def test_every_theta_lies_in_the_box_also_after_many_rounds(algorithm):
    state, _ = search(algorithm)
    for index in range(50):
        SPACE.check(algorithm.propose(state, 5, index))


def test_an_update_continues_from_a_state_that_went_through_json(algorithm):
    state = algorithm.initial_state(SPACE)
    samples = play_round(algorithm, state)
    stored = PolicyState.from_json(json.loads(json.dumps(state.to_json())))
    restored = [Sample(np.array(s.theta.tolist()), s.reward, stored) for s in samples]
    np.testing.assert_array_equal(algorithm.update(stored, restored).mu, algorithm.update(state, samples).mu)


def test_an_update_moves_the_version_on_by_one_and_keeps_its_arguments(algorithm):
    state = algorithm.initial_state(SPACE)
    samples = play_round(algorithm, state)
    before = (state.mu.copy(), [sample.theta.copy() for sample in samples])
    assert algorithm.update(state, samples).version == 1
    np.testing.assert_array_equal(state.mu, before[0])
    for sample, theta in zip(samples, before[1], strict=True):
        np.testing.assert_array_equal(sample.theta, theta)


def test_the_order_of_rewards_does_not_matter(algorithm):
    state = algorithm.initial_state(SPACE)
    samples = play_round(algorithm, state)
    np.testing.assert_allclose(
        algorithm.update(state, samples[::-1]).mu, algorithm.update(state, samples).mu, rtol=1e-9
    )


def test_a_learning_algorithm_improves_on_a_simple_objective(algorithm):
    if algorithm.name == "random":
        pytest.skip("the control does not learn")
    state, means = search(algorithm)
    assert np.mean(means[-3:]) > np.mean(means[:3])
    assert distance_reward(state.mu) > distance_reward(SPACE.start()) + 0.005


@pytest.mark.parametrize("reward", [0.0, 0.1])
def test_equal_rewards_teach_nothing(algorithm, reward):
    state = algorithm.initial_state(SPACE)
    samples = [Sample(sample.theta, reward, state) for sample in play_round(algorithm, state, count=3)]
    np.testing.assert_allclose(algorithm.update(state, samples).mu, state.mu, rtol=1e-12)


def test_updates_go_on_after_the_planned_rounds(algorithm):
    state, _ = search(algorithm)
    state = algorithm.update(state, play_round(algorithm, state))
    assert state.version == ROUNDS + 1


def test_samples_on_the_edge_of_the_box_are_learnt_from(algorithm):
    state = algorithm.initial_state(SPACE)
    corners = [np.zeros(SPACE.dimension), np.ones(SPACE.dimension)]
    samples = [Sample(corner, reward, state) for corner, reward in zip(corners, [0.1, 0.3], strict=True)]
    assert np.isfinite(algorithm.update(state, samples).mu).all()


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


def test_samples_of_earlier_versions_are_learnt_from(algorithm):
    if algorithm.name == "random":
        pytest.skip("the control does not learn")
    first = algorithm.initial_state(SPACE)
    second = algorithm.update(first, play_round(algorithm, first))
    late = play_round(algorithm, first, seed=2)
    assert (algorithm.update(second, late).mu != second.mu).any()
