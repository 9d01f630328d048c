import numpy as np
import pytest
from scenarios import search_spec

from paploss.controller.experiments.losses import decode_loss, search_space
from paploss.jobs.presets import identity


@pytest.mark.parametrize("knots", [2, 4, 6])
def test_the_start_of_a_search_is_the_identity(knots: int) -> None:
    spec = search_spec(knots=knots)
    loss = decode_loss(spec, search_space(spec).start().tolist())
    expected = identity(("bbox_head",), knots)
    np.testing.assert_allclose(
        loss.heads["bbox_head"].control_points, expected.heads["bbox_head"].control_points, atol=1e-12
    )
    assert loss.heads["bbox_head"].gradient_scale == pytest.approx(1.0)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_corners_of_the_space_are_valid_losses(value: float) -> None:
    decode_loss(search_spec(), [value] * 41)


def test_random_points_are_valid_losses() -> None:
    for theta in np.random.default_rng(0).random((200, 41)):
        decode_loss(search_spec(), theta.tolist())


def test_a_theta_outside_the_space_is_refused_by_dimension() -> None:
    theta = [0.5] * 41
    theta[3] = 1.5
    with pytest.raises(ValueError, match=r"theta\[3\]"):
        decode_loss(search_spec(), theta)
