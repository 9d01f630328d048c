import numpy as np
import pytest
from scipy.optimize import check_grad

from paploss.controller.search import gaussian_process
from paploss.controller.search.gaussian_process import GaussianProcess, Trainings, fit

GROUPS = np.array([0, 0, 1])


def trainings(count: int, effect: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    rows, seeds = generator.normal(size=(count, 3)), np.arange(count) % 4
    rewards = np.sin(2 * rows[:, 0]) + rows[:, 1] + effect * (seeds - 1.5) + 0.05 * generator.normal(size=count)
    return rows, rewards, seeds


def learn(
    rows: np.ndarray, rewards: np.ndarray, seeds: np.ndarray, levels: np.ndarray | None = None
) -> GaussianProcess:
    levels = np.zeros(len(rows), dtype=int) if levels is None else levels
    return fit(Trainings(rows, rewards, seeds, levels, np.where(levels == 0, 1.0, 3.0)), GROUPS, len(rows))


def test_a_smooth_function_is_learnt() -> None:
    rows, rewards, seeds = trainings(150)
    model = learn(rows[:100], rewards[:100], seeds[:100])
    found = model.mean(rows[100:])
    assert np.corrcoef(found, rewards[100:])[0, 1] > 0.95
    np.testing.assert_allclose(model.predict(rows[100:])[0], found)


def test_effects_of_seeds_are_left_out_of_what_is_predicted() -> None:
    rows, rewards, seeds = trainings(100, effect=1.0)
    truth = trainings(100)[1]
    with_effect = learn(rows, rewards, seeds).mean(rows)
    blind = learn(rows, rewards, np.arange(100)).mean(rows)
    assert np.std(with_effect - truth) < 0.5 * np.std(blind - truth)


def test_rewards_of_another_level_teach_the_shape_and_not_the_height() -> None:
    rows, rewards, seeds = trainings(150)
    levels = np.repeat([1, 0], [100, 50])
    own = slice(100, 120)
    shifted = rewards - 7.0 * (levels == 1)
    alone = learn(rows[own], rewards[own], seeds[own]).mean(rows[120:])
    taught = learn(rows[:120], shifted[:120], seeds[:120], levels[:120]).mean(rows[120:])
    assert np.abs(taught - rewards[120:]).mean() < 0.6 * np.abs(alone - rewards[120:]).mean()


def test_what_is_known_varies_less_than_what_is_not() -> None:
    rows, rewards, seeds = trainings(60)
    model = learn(rows, rewards, seeds)
    _, covariance = model.predict(np.concatenate([rows[:1], rows[:1] + 10]))
    assert 0 < covariance[0, 0] < covariance[1, 1]


def test_equal_rewards_can_be_fitted() -> None:
    rows, _, seeds = trainings(20)
    assert learn(rows, np.full(20, 3.0), seeds).mean(rows) == pytest.approx(np.full(20, 3.0))


def test_the_gradient_is_that_of_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, rewards, seeds = trainings(12, effect=0.5)
    asked = {}

    def keep(loss, start, **_):
        asked["loss"], asked["start"] = loss, start
        return type("Found", (), {"x": start})

    monkeypatch.setattr(gaussian_process, "minimize", keep)
    learn(rows, rewards, seeds, np.arange(12) // 6)
    start = asked["start"] + 0.1 * np.arange(len(asked["start"]))
    assert check_grad(lambda h: asked["loss"](h)[0], lambda h: asked["loss"](h)[1], start) < 1e-4
