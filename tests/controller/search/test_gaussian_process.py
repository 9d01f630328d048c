import numpy as np
import pytest
from scipy.optimize import check_grad

from paploss.controller.search import gaussian_process
from paploss.controller.search.gaussian_process import fit

GROUPS = np.array([0, 0, 1])


def trainings(count: int, effect: float = 0.0, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    rows, seeds = generator.normal(size=(count, 3)), np.arange(count) % 4
    rewards = np.sin(2 * rows[:, 0]) + rows[:, 1] + effect * (seeds - 1.5) + noise * generator.normal(size=count)
    return rows, rewards, seeds


def test_a_smooth_function_is_learnt() -> None:
    rows, rewards, seeds = trainings(150)
    model = fit(rows[:100], rewards[:100], seeds[:100], GROUPS, 100)
    found = model.mean(rows[100:])
    assert np.corrcoef(found, rewards[100:])[0, 1] > 0.95
    np.testing.assert_allclose(model.predict(rows[100:])[0], found)


def test_effects_of_seeds_are_left_out_of_what_is_predicted() -> None:
    rows, rewards, seeds = trainings(100, effect=1.0)
    truth = trainings(100)[1]
    with_effect = fit(rows, rewards, seeds, GROUPS, 100).mean(rows)
    blind = fit(rows, rewards, np.arange(100), GROUPS, 100).mean(rows)
    assert np.std(with_effect - truth) < 0.5 * np.std(blind - truth)


def test_what_is_known_varies_less_than_what_is_not() -> None:
    rows, rewards, seeds = trainings(60)
    model = fit(rows, rewards, seeds, GROUPS, 60)
    _, covariance = model.predict(np.concatenate([rows[:1], rows[:1] + 10]))
    assert 0 < covariance[0, 0] < covariance[1, 1]


def test_equal_rewards_can_be_fitted() -> None:
    rows, _, seeds = trainings(20)
    assert fit(rows, np.full(20, 3.0), seeds, GROUPS, 20).mean(rows) == pytest.approx(np.full(20, 3.0))


def test_the_gradient_is_that_of_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, rewards, seeds = trainings(12, effect=0.5)
    asked = {}

    def keep(loss, start, **_):
        asked["loss"], asked["start"] = loss, start
        return type("Found", (), {"x": start})

    monkeypatch.setattr(gaussian_process, "minimize", keep)
    fit(rows, rewards, seeds, GROUPS, 12)
    start = asked["start"] + 0.1 * np.arange(len(asked["start"]))
    assert check_grad(lambda h: asked["loss"](h)[0], lambda h: asked["loss"](h)[1], start) < 1e-4
