from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.stats import multivariate_normal, norm

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


def test_mean_and_covariance_are_those_of_the_formula() -> None:
    rows, rewards, seeds = trainings(12, effect=0.5)
    levels, new = np.arange(12) % 3, trainings(15)[0][12:]
    model = learn(rows, rewards, seeds, levels)
    *lengths, s, v, b, e = np.exp(model.hyper)
    parts = ([0, 1], [2])
    medians = [np.median([((x - z) ** 2)[part].sum() for x, z in combinations(rows, 2)]) for part in parts]
    centre = rows.mean(axis=0)
    size = ((rows - centre) ** 2).sum(axis=1).mean()

    def k(x: np.ndarray, z: np.ndarray) -> float:
        shares = zip(parts, medians, lengths, strict=True)
        d = sum(((x - z) ** 2)[part].sum() / median / length**2 for part, median, length in shares)
        r = np.sqrt(5 * d)
        return s * (1 + r + r**2 / 3) * np.exp(-r) + b * (x - centre) @ (z - centre) / size

    def kernel(a: np.ndarray, c: np.ndarray) -> np.ndarray:
        return np.array([[k(x, z) for z in c] for x in a])

    noise = v * np.where(levels == 0, 1, 3) + 1e-6
    effects = e * (seeds[:, None] == seeds) + ((levels[:, None] == levels) & (levels > 0))
    observed = kernel(rows, rows) + effects + np.diag(noise)
    away = rewards - np.array([rewards[levels == level].mean() for level in range(3)])[levels]
    gain = kernel(new, rows) @ np.linalg.inv(observed)
    mean, covariance = model.predict(new)
    np.testing.assert_allclose(mean, rewards[levels == 0].mean() + gain @ away, rtol=1e-6)
    left = kernel(new, new) - gain @ kernel(rows, new)
    np.testing.assert_allclose(covariance, away.std() ** 2 * left, rtol=1e-5, atol=1e-8)
    assert model.noise == pytest.approx(away.std() ** 2 * v)


def test_hyperparameters_are_judged_by_the_likelihood_and_their_priors_and_sought_from_the_priors_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = {}

    def keep(loss, start, **_):
        asked["loss"], asked["start"] = loss, start
        return type("Found", (), {"x": start})

    monkeypatch.setattr(gaussian_process, "minimize", keep)
    rows, rewards, seeds = trainings(12, effect=0.5)
    learn(rows, rewards, seeds)
    start = asked["start"]
    np.testing.assert_allclose(start, [*2 * [np.log(2) / 2], *np.log([0.5, 0.3, 0.3, 0.1])])
    spreads = np.array([0.7, 0.7, 1, 0.7, 1, 1])
    y = (rewards - rewards.mean()) / rewards.std()

    def expected(hyper: np.ndarray) -> float:
        model = replace(learn(rows, rewards, seeds), hyper=hyper)
        observed = model._prior(rows, rows) + np.exp(hyper[5]) * (seeds[:, None] == seeds)
        observed += (np.exp(hyper[3]) + 1e-6) * np.eye(12)
        return -multivariate_normal(cov=observed).logpdf(y) - norm(start, spreads).logpdf(hyper).sum()

    loss, there = asked["loss"], start + 0.3 * np.arange(1, 7)
    assert loss(there)[0] - loss(start)[0] == pytest.approx(expected(there) - expected(start))
