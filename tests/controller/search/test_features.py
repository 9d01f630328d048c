import numpy as np

from paploss.controller.search.features import features_of
from paploss.controller.search.space import HeadParameters, Space

GRID = np.linspace(0.1, 0.9, 9)


def test_columns_are_the_functions_their_physics_and_theta() -> None:
    space = Space(("bbox_head",), knots=1)
    points = np.zeros((5, 3, 2))
    points[:, 1], points[:, 2] = [[0.5, 0.8], [0.5, 0.6], [0.2, 0.3], [0.6, 0.9], [0.3, 0.4]], 1
    theta = space.encode({"bbox_head": HeadParameters(points, 10.0)})
    h2, i2, i3, i1, h1 = (lambda x, curve=curve: np.interp(x, curve[:, 0], curve[:, 1]) for curve in points)
    physics = []
    for difference in (0.5, 0.4, 0.3):
        share = h2(difference) / h1(difference)
        physics.append(np.log10(share + 0.02))
        for low, high in ((0.1, 0.5), (0.3, 0.7), (0.5, 0.9), (0.1, 0.9)):
            rises = (i1(high) - i1(low)) / (high - low), (i3(high) - i3(low)) / (high - low)
            physics.append(rises[0] - share * rises[1])
    physics += [(h2(0.5) - h2(0.3)) / 0.2, (h2(0.6) - h2(0.4)) / 0.2, 1 - h2(0.5), i3(0.5)]
    functions = [function(GRID) for function in (h2, i2, i3, i1, h1)]
    features = features_of(space)
    found = features(theta[None])[0] * features.scales
    np.testing.assert_allclose(found, np.concatenate([*functions, physics, [1.0], theta]), atol=1e-12)


def test_each_function_has_a_group_and_so_has_what_is_no_knot() -> None:
    space = Space(("rpn_head", "bbox_head"), family="extended", searched_rate=True)
    features = features_of(space)
    assert np.bincount(features.groups).tolist() == [9, 9, 9, 9, 9, 19] * 2 + [2 * 4 + 1, space.dimension]
    theta = np.linspace(0.2, 0.8, space.dimension)
    found = features(theta[None])[0] * features.scales
    np.testing.assert_allclose(found[features.groups == 12], theta[-9:])
    np.testing.assert_allclose(found[features.groups == 13], theta)


def test_columns_vary_by_about_one_around_the_start() -> None:
    space = Space(("bbox_head",))
    around = np.random.default_rng(1).normal(space.start(), 0.2, (400, space.dimension)).clip(0, 1)
    spread = features_of(space)(around).std(axis=0)
    assert 0.7 < spread.min() < spread.max() < 1.4
