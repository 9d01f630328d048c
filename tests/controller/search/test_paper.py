"""The published program's own numbers; tests/golden/policy.md says where they come from."""

from pathlib import Path

import numpy as np
import pytest

from paploss.controller.search.algorithm import Sample
from paploss.controller.search.paper import Paper
from paploss.controller.search.policy import PolicyState, log_density
from paploss.controller.search.space import Space

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "policy.npz")
SEARCHES = {"retina": Space(("bbox_head",)), "faster": Space(("rpn_head", "bbox_head"))}


@pytest.fixture(params=SEARCHES)
def search(request: pytest.FixtureRequest) -> tuple[Space, dict[str, np.ndarray]]:
    names = ("mu", "sigma", "theta", "reward", "log_prob")
    return SEARCHES[request.param], {name: GOLDEN[f"{request.param}_{name}"] for name in names}


def samples_of(golden: dict[str, np.ndarray], number: int, state: PolicyState) -> list[Sample]:
    return [
        Sample(theta, float(reward), state)
        for theta, reward in zip(golden["theta"][number], golden["reward"][number], strict=True)
    ]


def test_the_start_is_the_published_one(search):
    space, golden = search
    state = Paper().initial_state(space)
    np.testing.assert_array_equal(state.mu, golden["mu"][0])
    np.testing.assert_array_equal(state.sigma, golden["sigma"][0])


def test_log_densities_are_the_published_ones(search):
    _, golden = search
    for number in range(12):
        found = log_density(golden["theta"][number], golden["mu"][number], golden["sigma"][number])
        np.testing.assert_allclose(found, golden["log_prob"][number], atol=1e-12)


def test_each_round_alone_is_the_published_one(search):
    _, golden = search
    for number in range(12):
        state = PolicyState(number, golden["mu"][number], float(golden["sigma"][number, 0]))
        found = Paper().update(state, samples_of(golden, number, state))
        np.testing.assert_allclose(found.mu, golden["mu"][number + 1], atol=1e-12)
        np.testing.assert_allclose(found.sigma, golden["sigma"][number + 1], atol=1e-15)


def test_twelve_rounds_in_a_row_are_the_published_ones(search):
    space, golden = search
    state = Paper().initial_state(space)
    for number in range(12):
        state = Paper().update(state, samples_of(golden, number, state))
        np.testing.assert_allclose(state.mu, golden["mu"][number + 1], atol=1e-6)


def test_the_last_round_keeps_the_sigma_before_it():
    space = SEARCHES["retina"]
    algorithm = Paper(rounds=4)
    state = algorithm.initial_state(space)
    sigmas = []
    for _ in range(4):
        sigmas.append(state.sigma)
        state = algorithm.update(state, [Sample(algorithm.propose(state, 0, i), 0.1 * i, state) for i in range(2)])
    assert [*sigmas, state.sigma] == pytest.approx([0.2, 0.15, 0.1, 0.05, 0.05])
