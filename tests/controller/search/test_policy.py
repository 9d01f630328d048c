import json

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest, truncnorm

from paploss.controller.search.policy import (
    PolicyState,
    location,
    log_density,
    log_density_and_slope,
    logit,
    mean,
    sample,
)


def frozen_law(mu: float, sigma: float):
    return truncnorm((0 - mu) / sigma, (1 - mu) / sigma, loc=mu, scale=sigma)


@pytest.mark.parametrize(("mu", "sigma"), [(0.5, 0.2), (0.02, 0.2), (0.97, 0.05), (0.3, 0.005), (0.5, 3.0)])
def test_density_is_the_truncated_normal_s(mu, sigma):
    theta = np.linspace(0, 1, 21)
    np.testing.assert_allclose(
        log_density(theta, np.full(21, mu), sigma), frozen_law(mu, sigma).logpdf(theta), rtol=1e-10, atol=1e-10
    )
    mass, _ = quad(lambda x: float(np.exp(log_density(np.array(x), np.array(mu), sigma))), 0, 1, points=[mu])
    assert mass == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("mu", "sigma"), [(0.5, 0.2), (0.02, 0.2), (0.97, 0.05)])
def test_slope_is_the_derivative_in_mu(mu, sigma):
    theta = np.linspace(0, 1, 11)
    step = 1e-6
    numeric = (log_density(theta, np.array(mu + step), sigma) - log_density(theta, np.array(mu - step), sigma)) / (
        2 * step
    )
    _, slope = log_density_and_slope(theta, np.array(mu), sigma)
    np.testing.assert_allclose(slope, numeric, rtol=1e-6, atol=1e-6)


def test_mean_is_that_of_the_truncated_law():
    state = PolicyState(3, np.array([0.02, 0.5, 0.97]), 0.2)
    np.testing.assert_allclose(mean(state), [frozen_law(mu, 0.2).mean() for mu in state.mu], rtol=1e-10)
    assert mean(state)[0] > 0.1  # while mu is 0.02


def test_samples_follow_the_law_and_stay_in_the_box():
    state = PolicyState(3, np.array([0.05, 0.5, 0.95]), 0.2)
    drawn = np.stack([sample(state, 7, index) for index in range(2000)])
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    for column, mu in zip(drawn.T, state.mu, strict=True):
        assert kstest(column, frozen_law(mu, 0.2).cdf).pvalue > 1e-3


def test_samples_depend_on_seed_version_and_index_alone():
    state = PolicyState(3, np.full(5, 0.5), 0.2)
    first = sample(state, 7, 2)
    np.testing.assert_array_equal(sample(PolicyState(3, np.full(5, 0.5), 0.2), 7, 2), first)
    others = [sample(state, 8, 2), sample(state, 7, 3), sample(PolicyState(4, state.mu, 0.2), 7, 2)]
    assert all((other != first).all() for other in others)


@pytest.mark.parametrize("sigma", [1e-6, 0.2, 100.0])
@pytest.mark.parametrize("mu", [1e-9, 0.5, 1 - 1e-9])
def test_samples_are_finite_for_extreme_policies(mu, sigma):
    drawn = sample(PolicyState(0, np.full(1000, mu), sigma), 0, 0)
    assert ((drawn >= 0) & (drawn <= 1)).all()


def test_location_and_logit_are_inverse_and_never_leave_the_box():
    mu = np.array([1e-6, 0.2, 0.5, 0.999])
    np.testing.assert_allclose(location(logit(mu)), mu, rtol=1e-12)
    extreme = location(np.array([-1e4, 1e4]))
    assert np.isfinite(logit(extreme)).all()


def test_state_survives_json_exactly():
    state = PolicyState(11, np.random.default_rng(0).uniform(size=41), 0.2 * 29 / 40)
    again = PolicyState.from_json(json.loads(json.dumps(state.to_json())))
    assert (again.version, again.sigma) == (state.version, state.sigma)
    np.testing.assert_array_equal(again.mu, state.mu)


@pytest.mark.parametrize(
    ("version", "mu", "sigma", "message"),
    [
        (-1, [0.5], 0.2, "version: expected 0 or more, got -1"),
        (0, [0.5, 1.0], 0.2, r"mu\[1\]: expected a value between 0 and 1, got 1.0"),
        (0, [np.nan], 0.2, r"mu\[0\]: expected a value between 0 and 1, got nan"),
        (0, [[0.5]], 0.2, r"mu: expected shape \(D,\), got \(1, 1\)"),
        (0, [0.5], 0.0, "sigma: expected a finite number above 0, got 0.0"),
        (0, [0.5], np.inf, "sigma: expected a finite number above 0, got inf"),
    ],
)
def test_impossible_states_are_refused(version, mu, sigma, message):
    with pytest.raises(ValueError, match=message):
        PolicyState(version, np.array(mu), sigma)
