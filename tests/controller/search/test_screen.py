from dataclasses import replace

import numpy as np
import pytest

from paploss.controller.search.algorithm import History, Sample
from paploss.controller.search.guided import Guided
from paploss.controller.search.screen import (
    MOST_DRAWS,
    box_gradient,
    evaluate,
    is_screened,
    passes,
    redraw,
    rho,
)
from paploss.controller.search.space import HeadParameters, Space
from paploss.jobs.presets import PRESETS

SPACE = Space(("bbox_head",), knots=2)
BOTH = Space(("rpn_head", "bbox_head"), knots=2)


def theta_with(**functions: list[float]) -> np.ndarray:
    """A theta whose functions (H2, I2, I3, I1, H1) go through two given heights at 1/3 and 2/3."""
    points = SPACE.decode(SPACE.start())["bbox_head"].control_points.copy()
    for name, heights in functions.items():
        points[("H2", "I2", "I3", "I1", "H1").index(name), 1:-1, 1] = heights
    return SPACE.encode({"bbox_head": HeadParameters(points, 1.0)})


def test_functions_are_evaluated_like_numpy_s_interpolation() -> None:
    points = SPACE.decode(np.random.default_rng(0).random(SPACE.dimension))["bbox_head"].control_points
    x = np.linspace(0, 1, 11)[1:-1]
    expected = [np.interp(x, function[:, 0], function[:, 1]) for function in points]
    np.testing.assert_allclose(evaluate(points, x), expected)


def test_a_jump_is_evaluated_on_both_sides() -> None:
    jump = np.array([[0, 0], [0.5, 0], [0.5, 1], [1, 1]])
    assert evaluate(jump, np.array([0.4, 0.6])).tolist() == [0, 1]


def test_of_the_identity_the_gradient_is_0() -> None:
    assert box_gradient(SPACE, SPACE.start()[None]) == pytest.approx(0, abs=1e-12)


def test_by_hand() -> None:
    """H2(1/2) = 1/4 and H1(1/2) = 1/2, so rho is 1/2; I1 and I3 rise by 0.8 from 0.1 to 0.9."""
    low = theta_with(H2=[0.1, 0.4])
    assert box_gradient(SPACE, low[None]) == pytest.approx(1 - 0.5)
    high = theta_with(H2=[0.6, 0.9])  # rho = 0.75 / 0.5
    assert box_gradient(SPACE, high[None]) == pytest.approx(1 - 1.5)
    assert passes(SPACE, np.stack([low, high])).tolist() == [True, False]


def test_a_gradient_of_a_tenth_is_the_least_that_passes() -> None:
    just, hardly = theta_with(H2=[0.4, 0.48]), theta_with(H2=[0.4, 0.52])  # rho is 0.88 and 0.92
    assert passes(SPACE, np.stack([just, hardly])).tolist() == [True, False]


def test_the_error_per_rank_is_bounded_where_h1_is_almost_0() -> None:
    assert rho(np.array([0.5, 0.03, 0.06]), np.array([0.05, 0.001, 0.02])) == pytest.approx([5, 3, 3])


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ({}, [True, False]),
        ({"error_driven": True}, [False, False]),  # it gives boxes no gradient, and the functions none at all
        ({"l1_weight": 1.0}, [True, True]),
        ({"error_driven": True, "giou_weight": 1.0}, [True, True]),
    ],
)
def test_of_the_extended_family_the_added_terms_decide(added: dict[str, float], expected: list[bool]) -> None:
    space = Space(("bbox_head",), knots=2, family="extended")
    curves = [SPACE.decode(theta_with(H2=heights))["bbox_head"] for heights in ([0.1, 0.4], [0.6, 0.9])]
    thetas = [space.encode({"bbox_head": replace(curve, **added)}) for curve in curves]
    assert passes(space, np.stack(thetas)).tolist() == expected


def test_of_two_stages_the_first_has_to_pass() -> None:
    low, high = (SPACE.decode(theta_with(H2=heights))["bbox_head"] for heights in ([0.1, 0.4], [0.6, 0.9]))
    mixed = [BOTH.encode({"rpn_head": a, "bbox_head": b}) for a, b in ((low, low), (low, high), (high, low))]
    assert passes(BOTH, np.stack(mixed)).tolist() == [True, True, False]


def test_a_second_stage_whose_boxes_get_no_gradient_does_not_pass() -> None:
    space = Space(BOTH.heads, knots=2, family="extended")
    low = SPACE.decode(theta_with(H2=[0.1, 0.4]))["bbox_head"]
    driven = replace(low, error_driven=True)
    thetas = [
        space.encode({"rpn_head": low, "bbox_head": one}) for one in (low, driven, replace(driven, l1_weight=1.0))
    ]
    assert passes(space, np.stack(thetas)).tolist() == [True, False, True]


@pytest.mark.parametrize("name", PRESETS)
def test_published_sets_are_judged_by_their_heads(name: str) -> None:
    heads = {h: HeadParameters(np.array(p.control_points), p.gradient_scale) for h, p in PRESETS[name].heads.items()}
    space = Space(tuple(heads))
    assert box_gradient(space, space.encode(heads)[None]).shape == (1, len(heads))


def test_a_share_goes_unscreened_and_always_the_same() -> None:
    screened = [is_screened(1, version, index) for version in range(50) for index in range(20)]
    assert 1 - np.mean(screened) == pytest.approx(0.1, abs=0.03)
    assert screened == [is_screened(1, version, index) for version in range(50) for index in range(20)]


def test_the_first_theta_that_passes_is_taken_and_those_before_it_are_counted() -> None:
    good = theta_with(H2=[0.1, 0.4])
    seeds: list[int] = []

    def draw(seed: int) -> np.ndarray:
        seeds.append(seed)
        return good if len(seeds) == 4 else theta_with(H2=[0.6, 0.9 + 1e-4 * len(seeds)])

    found = redraw(SPACE, draw, 7)
    np.testing.assert_array_equal(found.theta, good)
    assert found.screened_out == 3
    assert seeds[0] == 7
    assert len(set(seeds)) == 4


def test_where_nothing_passes_the_last_draw_is_taken() -> None:
    seeds: list[int] = []

    def draw(seed: int) -> np.ndarray:
        seeds.append(seed)
        return theta_with(H2=[0.6, 0.9 + 1e-4 * len(seeds)])

    found = redraw(SPACE, draw, 7)
    assert found.screened_out == MOST_DRAWS - 1 == len(seeds) - 1
    np.testing.assert_array_equal(found.theta, theta_with(H2=[0.6, 0.9 + 1e-4 * MOST_DRAWS]))


def test_a_given_loss_is_tried_although_it_does_not_pass_and_nothing_counts_as_left_out() -> None:
    given = SPACE.start()
    assert not passes(SPACE, given[None])[0]
    found = redraw(SPACE, lambda _: given.copy(), 7)
    np.testing.assert_array_equal(found.theta, given)
    assert found.screened_out == 0


def test_candidates_are_screened_only_where_the_proposal_is() -> None:
    """Rewards here do not depend on what the screen asks for."""
    generator = np.random.default_rng(0)
    thetas = generator.normal(SPACE.start(), 0.2, (80, SPACE.dimension)).clip(0, 1)
    rewards = generator.normal(0.3, 0.01, len(thetas))
    finished = tuple(Sample(theta, reward, None) for theta, reward in zip(thetas, rewards, strict=True))
    algorithm, history = Guided(), History(finished, proposed=80)
    state = algorithm.initial_state(SPACE)
    screened, plain = (
        np.stack([algorithm.propose(state, 1, index, history, screened=flag) for index in range(12)])
        for flag in (True, False)
    )
    assert passes(SPACE, screened).all()
    assert not passes(SPACE, plain).all()
