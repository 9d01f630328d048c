import numpy as np
import pytest

from paploss.controller.search.algorithm import Sample
from paploss.controller.search.paper import Paper
from paploss.controller.search.policy import PolicyState, log_density
from paploss.controller.search.ppo import Ppo
from paploss.controller.search.space import Space

SPACE = Space(("bbox_head",), knots=1)


def state_at(version: int) -> PolicyState:
    return PolicyState(version, SPACE.start(), 0.2)


def step_sample(state: PolicyState, index: int, shift: float, reward: float) -> Sample:
    theta = state.mu.copy()
    theta[index] += shift
    return Sample(theta, reward, state)


def test_mu_moves_towards_the_better_sample_and_only_where_samples_differ():
    state = state_at(0)
    moved = Ppo().update(state, [step_sample(state, 3, 0.2, 0.3), step_sample(state, 3, -0.2, 0.1)]).mu - state.mu
    assert 0.02 < moved[3] < 0.2
    np.testing.assert_allclose(np.delete(moved, 3), 0, atol=1e-12)


@pytest.mark.parametrize("algorithm", [Ppo(), Paper()])
def test_the_best_guess_is_where_the_trials_are_and_not_the_location_at_an_end(algorithm: Ppo | Paper):
    state = PolicyState(3, np.full(SPACE.dimension, 0.02), 0.2)
    trials = np.concatenate([algorithm.propose(state, 0, index) for index in range(200)])
    np.testing.assert_allclose(algorithm.best_guess(state), trials.mean(), atol=0.01)


def test_the_scale_and_offset_of_rewards_do_not_matter():
    state = state_at(0)
    thetas = [Ppo().propose(state, 0, index) for index in range(8)]
    rewards = np.random.default_rng(0).uniform(size=8)
    fractions = Ppo().update(state, [Sample(t, float(r), state) for t, r in zip(thetas, rewards, strict=True)])
    percent = Ppo().update(state, [Sample(t, 100 * float(r) + 5, state) for t, r in zip(thetas, rewards, strict=True)])
    np.testing.assert_allclose(percent.mu, fractions.mu, rtol=1e-4)


def test_sigma_falls_to_its_last_value_in_the_last_round():
    algorithm = Ppo(rounds=5)
    state = algorithm.initial_state(SPACE)
    sigmas = []
    for _ in range(6):
        sigmas.append(state.sigma)
        state = algorithm.update(state, [step_sample(state, 0, 0.1, 0.1), step_sample(state, 0, -0.1, 0.2)])
    assert sigmas == pytest.approx([0.2, 0.175, 0.15, 0.125, 0.1, 0.1])


def test_a_search_of_two_rounds_has_its_last_sigma_in_the_second():
    state = state_at(0)
    samples = [step_sample(state, 0, 0.1, 0.1), step_sample(state, 0, -0.1, 0.2)]
    assert Ppo(rounds=2).update(state, samples).sigma == pytest.approx(0.1)


def agreement(algorithm: Ppo | Paper, sigma: float) -> float:
    """Correlation of mu's step in the last round but one with the reward-weighted offsets of the samples from mu."""
    state = PolicyState(38, Space(("bbox_head",)).start(), sigma)
    found = []
    for seed in range(5):
        thetas = np.stack([algorithm.propose(state, seed, index) for index in range(8)])
        rewards = np.random.default_rng(seed).uniform(0.2, 0.3, size=8)
        samples = [Sample(theta, float(reward), state) for theta, reward in zip(thetas, rewards, strict=True)]
        step = algorithm.update(state, samples).mu - state.mu
        found.append(np.corrcoef(step, (rewards - rewards.mean()) @ (thetas - state.mu))[0, 1])
    return float(np.mean(found))


def test_the_last_rounds_still_follow_the_rewards_where_the_released_ones_do_not():
    assert agreement(Ppo(), sigma=0.1026) > 0.7
    assert agreement(Ppo(), sigma=0.01) > 0.7
    assert agreement(Paper(), sigma=0.01) < 0.3


# One dimension, a sample one sigma above the current mu, which is 0.5; sigma 0.1, so that truncation is below 1e-6.
# At mu' the sample is d = (0.6 - mu') / 0.1 sigmas away: ratio q = exp((1 - d^2) / 2), dJ/dmu = A q d / 0.1.
@pytest.mark.parametrize(
    ("mu", "of_good", "of_bad"),
    [
        (0.45, 8.0289, 0.0),  # q = 0.5353, below 0.6: the bad sample has lost enough
        (0.46, 8.6629, -8.6629),  # q = 0.6188
        (0.54, 8.2628, -8.2628),  # q = 1.3771
        (0.55, 0.0, -7.2750),  # q = 1.4550, above 1.4: the good sample has gained enough
    ],
)
def test_a_good_sample_is_clipped_from_above_alone_and_a_bad_one_from_below(mu: float, of_good: float, of_bad: float):
    theta, sigma = np.array([[0.6]]), np.array([[0.1]])
    anchor = log_density(theta, np.array([0.5]), sigma)
    good, bad = (Ppo()._slope(np.array([mu]), theta, sigma, anchor, np.array([[sign]])) for sign in (1.0, -1.0))
    assert good == pytest.approx([of_good], rel=1e-3)
    assert bad == pytest.approx([of_bad], rel=1e-3)


def test_a_sample_too_old_is_left_out():
    algorithm = Ppo(max_staleness=3)
    state, old, recent = state_at(10), state_at(6), state_at(7)
    fresh = [step_sample(recent, 0, 0.1, 0.3), step_sample(recent, 0, -0.1, 0.2)]
    with_old = algorithm.update(state, [*fresh, step_sample(old, 1, 0.1, 0.9)])
    np.testing.assert_array_equal(with_old.mu, algorithm.update(state, fresh).mu)
    assert (with_old.mu != state.mu).any()  # the others are as old as may be


def test_an_update_without_fresh_samples_moves_the_version_on_and_not_mu():
    state, old = state_at(10), state_at(2)
    samples = [step_sample(old, 0, 0.1, 0.3), step_sample(old, 0, -0.1, 0.2)]
    found = Ppo(max_staleness=3).update(state, samples)
    assert found.version == 11
    np.testing.assert_array_equal(found.mu, state.mu)


def test_a_sample_that_the_current_policy_would_hardly_propose_weighs_little():
    far = PolicyState(0, np.full(SPACE.dimension, 0.1), 0.1)
    state = PolicyState(1, np.full(SPACE.dimension, 0.5), 0.1)
    likely = [Sample(state.mu + 0.1, 0.3, state), Sample(state.mu - 0.1, 0.2, state)]
    moved = Ppo().update(state, [*likely, Sample(far.mu, 0.4, far)]).mu - state.mu
    as_if_current = Ppo().update(state, [*likely, Sample(far.mu, 0.4, state)]).mu - state.mu
    assert (moved > 0.01).all()
    assert (as_if_current < -0.005).all()


def test_a_sample_that_the_current_policy_is_likelier_to_propose_weighs_no_more_than_its_own():
    far = PolicyState(0, np.full(SPACE.dimension, 0.1), 0.1)
    state = PolicyState(1, np.full(SPACE.dimension, 0.5), 0.1)
    of_far, own = (
        Ppo().update(state, [Sample(state.mu + 0.1, 0.3, by), Sample(state.mu - 0.1, 0.2, by)]) for by in (far, state)
    )
    np.testing.assert_array_equal(of_far.mu, own.mu)


def test_narrow_policies_do_not_overflow():
    narrow = PolicyState(0, SPACE.start(), 1e-4)
    ends = [np.zeros(SPACE.dimension), np.ones(SPACE.dimension), SPACE.start()]
    samples = [Sample(theta, reward, narrow) for theta, reward in zip(ends, [0.0, 0.1, 0.3], strict=True)]
    assert np.isfinite(Ppo().update(narrow, samples).mu).all()
    assert np.isfinite(Paper().update(narrow, samples).mu).all()
