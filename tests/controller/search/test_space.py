import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from paploss.controller.search.space import FAMILIES, HeadParameters, Space
from paploss.jobs.losses import FUNCTION_NAMES
from paploss.jobs.presets import PRESETS
from paploss.jobs.profiles import PROFILES

RETINANET = Space(("bbox_head",))
FASTER = Space(("rpn_head", "bbox_head"))
EXTENDED = Space(("bbox_head",), family="extended")
LARGEST = Space(("rpn_head", "bbox_head"), family="extended", searched_rate=True)

# Values in [0, 1] among which 0, 1 and their neighbours are common.
fractions = st.one_of(
    st.sampled_from([0.0, 1.0, 5e-324, 1e-15, 1 - 2**-53, 0.5]), st.floats(0, 1, allow_nan=False, width=64)
)


def test_dimension_and_layout_are_the_published_ones():
    assert RETINANET.dimension == 41
    assert FASTER.dimension == 82
    assert RETINANET.names[:3] == ("bbox_head.H2.knot1.x", "bbox_head.H2.knot1.y", "bbox_head.H2.knot2.x")
    assert RETINANET.names[8] == "bbox_head.I2.knot1.x"
    assert RETINANET.names[-2:] == ("bbox_head.H1.knot4.y", "bbox_head.gradient_scale")
    assert FASTER.names[40] == "bbox_head.H2.knot1.x"
    assert FASTER.names[-2:] == ("rpn_head.gradient_scale", "bbox_head.gradient_scale")
    assert len(FASTER.names) == len(set(FASTER.names)) == 82


def test_the_functions_are_named_as_in_the_job_contract():
    assert [name.split(".")[1] for name in Space(("h",), knots=1).names[:-1:2]] == list(FUNCTION_NAMES)


@pytest.mark.parametrize("knots", [1, 2, 4, 6])
def test_the_start_decodes_to_the_identity_and_an_unchanged_gradient(knots):
    space = Space(("a", "b"), knots)
    diagonal = np.linspace(0, 1, knots + 2)
    for head in space.decode(space.start()).values():
        np.testing.assert_allclose(head.control_points, np.broadcast_to(diagonal[None, :, None], (5, knots + 2, 2)))
        assert head.gradient_scale == pytest.approx(1)


def test_decoding_by_hand():
    theta = np.zeros(Space(("h",), knots=2).dimension)
    theta[:4] = [0.5, 0.2, 0.5, 0.25]  # H2: two knots, x and y
    theta[-1] = 1.0
    head = Space(("h",), knots=2).decode(theta)["h"]
    np.testing.assert_allclose(head.control_points[0], [[0, 0], [0.5, 0.2], [0.75, 0.4], [1, 1]])
    np.testing.assert_array_equal(head.control_points[4], [[0, 0], [0, 0], [0, 0], [1, 1]])
    assert head.gradient_scale == pytest.approx(10)


@given(arrays(np.float64, 21 * 2, elements=fractions))
def test_decoded_functions_are_monotone_from_0_to_1_for_every_theta(theta):
    for head in Space(("a", "b"), knots=2).decode(theta).values():
        points = head.control_points
        assert (points[:, 0] == 0).all()
        assert (points[:, -1] == 1).all()
        assert (np.diff(points, axis=1) >= 0).all()
        assert 0.0999999 <= head.gradient_scale <= 10.000001


@given(arrays(np.float64, 82, elements=fractions))
def test_encoding_gives_a_theta_of_the_same_loss(theta):
    decoded = FASTER.decode(theta)
    encoded = FASTER.encode(decoded)
    again = FASTER.decode(encoded)
    for head, parameters in decoded.items():
        np.testing.assert_allclose(again[head].control_points, parameters.control_points, atol=1e-12)
        assert again[head].gradient_scale == pytest.approx(parameters.gradient_scale)


@given(arrays(np.float64, 41, elements=st.floats(0.001, 0.9)))
def test_encoding_inverts_decoding_away_from_1(theta):
    np.testing.assert_allclose(RETINANET.encode(RETINANET.decode(theta)), theta, atol=1e-10)


@pytest.mark.parametrize("name", PRESETS)
def test_published_presets_lie_in_the_space(name):
    heads = {
        head: HeadParameters(np.array(loss.control_points), loss.gradient_scale)
        for head, loss in PRESETS[name].heads.items()
    }
    space = Space(tuple(heads))
    theta = space.encode(heads)
    decoded = space.decode(theta)
    for head, parameters in heads.items():
        np.testing.assert_allclose(decoded[head].control_points, parameters.control_points, atol=1e-12)
        assert decoded[head].gradient_scale == pytest.approx(parameters.gradient_scale)


def test_every_profile_has_heads_that_make_a_space():
    assert {Space(profile.heads).dimension for profile in PROFILES.values() if profile.heads} <= {41, 82}


def test_dimensions_that_are_added_come_last():
    sizes = {
        (family, rate): [Space(space.heads, 4, family, rate).dimension for space in (RETINANET, FASTER)]
        for family in FAMILIES
        for rate in (False, True)
    }
    assert sizes == {
        ("functions", False): [41, 82],
        ("functions", True): [42, 83],
        ("box_terms", False): [43, 86],
        ("box_terms", True): [44, 87],
        ("extended", False): [44, 88],
        ("extended", True): [45, 89],
    }
    assert LARGEST.names[:82] == FASTER.names
    assert LARGEST.names[82:] == (
        *(f"{head}.{name}" for name in ("l1_weight", "giou_weight", "error_driven") for head in FASTER.heads),
        "learning_rate_factor",
    )


@pytest.mark.parametrize("space", [EXTENDED, LARGEST], ids=["one head", "two heads and the rate"])
def test_a_wider_space_starts_from_the_same_loss_at_the_same_rate(space):
    plain = Space(space.heads)
    for head, parameters in space.decode(space.start()).items():
        np.testing.assert_array_equal(parameters.control_points, plain.decode(plain.start())[head].control_points)
        assert (parameters.l1_weight, parameters.giou_weight, parameters.error_driven) == (0, 0, False)
    assert space.decode_rate(space.start()) == 1
    np.testing.assert_allclose(space.encode(space.decode(space.start())), space.start(), atol=1e-15)


@pytest.mark.parametrize(
    ("position", "weight"), [(0, 0), (0.125, 0), (0.25 - 2**-54, 0), (0.25, 0.1), (0.625, 1), (1, 10)]
)
def test_weights_are_nothing_below_a_quarter_and_logarithmic_above(position, weight):
    theta = EXTENDED.start()
    theta[41] = position
    assert EXTENDED.decode(theta)["bbox_head"].l1_weight == pytest.approx(weight, abs=0)
    assert EXTENDED.decode(theta)["bbox_head"].giou_weight == 0


@pytest.mark.parametrize(("position", "factor"), [(0, 0.25), (0.5, 1), (0.75, 2), (1, 4)])
def test_the_rates_factor_is_logarithmic(position, factor):
    theta = LARGEST.start()
    theta[-1] = position
    assert LARGEST.decode_rate(theta) == pytest.approx(factor)
    assert FASTER.decode_rate(FASTER.start()) == 1


@given(arrays(np.float64, 89, elements=fractions))
def test_encoding_inverts_decoding_in_the_widest_space(theta):
    decoded, rate = LARGEST.decode(theta), LARGEST.decode_rate(theta)
    encoded = LARGEST.encode(decoded, rate)
    assert LARGEST.decode_rate(encoded) == pytest.approx(rate)
    for head, found in LARGEST.decode(encoded).items():
        expected = decoded[head]
        np.testing.assert_allclose(found.control_points, expected.control_points, atol=1e-12)
        for name in ("gradient_scale", "l1_weight", "giou_weight"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-12)
        assert found.error_driven == expected.error_driven


@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0, 10.0])
def test_a_weight_comes_back_exactly(weight):
    head = HeadParameters(_identity().control_points, 1.0, l1_weight=weight, error_driven=True)
    found = EXTENDED.decode(EXTENDED.encode({"bbox_head": head}))["bbox_head"]
    assert (found.gradient_scale, found.l1_weight, found.giou_weight, found.error_driven) == (1, weight, 0, True)


@pytest.mark.parametrize("weight", [0.05, -1, 11, np.nan])
def test_a_weight_out_of_reach_is_refused(weight):
    with pytest.raises(ValueError, match=r"bbox_head.giou_weight: expected 0 or a value in \[0.1, 10\], got"):
        EXTENDED.encode({"bbox_head": HeadParameters(_identity().control_points, 1.0, giou_weight=weight)})


def test_a_family_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"family: expected one of functions, box_terms, extended, got 'wide'"):
        Space(("bbox_head",), family="wide")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "value"), [("l1_weight", 1.0), ("giou_weight", 1.0), ("error_driven", True)])
def test_a_family_refuses_by_name_what_it_lacks(family, name, value):
    space = Space(("bbox_head",), family=family)
    head = HeadParameters(_identity().control_points, 1.0, **{name: value})
    if name in FAMILIES[family]:
        assert getattr(space.decode(space.encode({"bbox_head": head}))["bbox_head"], name) == value
    else:
        with pytest.raises(ValueError, match=rf"bbox_head.{name}: expected .* in the family {family}, got {value}"):
            space.encode({"bbox_head": head})


@pytest.mark.parametrize(("space", "rate"), [(LARGEST, 5.0), (FASTER, 2.0)], ids=["too high", "not searched"])
def test_a_rate_out_of_reach_is_refused(space, rate):
    with pytest.raises(ValueError, match=r"learning_rate_factor: expected .* got"):
        space.encode(space.decode(space.start()), rate)


@pytest.mark.parametrize("value", [-0.1, 1.0000001, np.nan, np.inf])
def test_theta_outside_the_box_is_refused_by_name(value):
    theta = RETINANET.start()
    theta[9] = value
    with pytest.raises(ValueError, match=r"theta\[9\] \(bbox_head.I2.knot1.y\): expected a value in \[0, 1\], got"):
        RETINANET.decode(theta)


def test_theta_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"theta: expected shape \(41,\), got \(40,\)"):
        RETINANET.decode(np.zeros(40))


def _identity() -> HeadParameters:
    return RETINANET.decode(RETINANET.start())["bbox_head"]


def test_falling_control_points_are_refused_by_function():
    points = _identity().control_points.copy()
    points[2, 3, 1] = 0.1
    with pytest.raises(ValueError, match=r"bbox_head.I3: expected y to rise from knot to knot, got 0.4.* then 0.1"):
        RETINANET.encode({"bbox_head": HeadParameters(points, 1.0)})


def test_control_points_of_another_number_of_knots_are_refused():
    with pytest.raises(ValueError, match=r"bbox_head.control_points: expected shape \(5, 4, 2\), got \(5, 6, 2\)"):
        Space(("bbox_head",), knots=2).encode({"bbox_head": _identity()})


@pytest.mark.parametrize(("end", "value"), [(0, 0.1), (-1, 0.9)])
def test_functions_that_do_not_end_in_the_corners_are_refused(end: int, value: float):
    points = _identity().control_points.copy()
    points[0, end] = value
    with pytest.raises(ValueError, match=r"from \(0, 0\) to \(1, 1\)"):
        RETINANET.encode({"bbox_head": HeadParameters(points, 1.0)})


@pytest.mark.parametrize("scale", [0.01, 20, np.nan])
def test_a_gradient_scale_out_of_reach_is_refused(scale):
    with pytest.raises(ValueError, match=r"bbox_head.gradient_scale: expected a value in \[0.1, 10\], got"):
        RETINANET.encode({"bbox_head": HeadParameters(_identity().control_points, scale)})


def test_other_heads_are_refused():
    with pytest.raises(ValueError, match=r"heads: expected \['bbox_head'\], got \['rpn_head'\]"):
        RETINANET.encode({"rpn_head": _identity()})


@pytest.mark.parametrize(("heads", "knots"), [((), 4), (("a", "a"), 4), (("a",), 0)])
def test_a_space_without_heads_or_knots_is_refused(heads, knots):
    with pytest.raises(ValueError, match=r"heads|knots"):
        Space(heads, knots)
