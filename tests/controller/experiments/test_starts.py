"""What a search takes from earlier ones, and from losses that are given."""

from typing import Any

import numpy as np
import pytest
from scenarios import add_search, add_training, outcome, pass_term, search_spec
from simulation import Platform

from paploss.client.start import MOST_EARLIER
from paploss.controller.experiments.losses import decode_loss, encode_loss
from paploss.controller.search.guided import _learn
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.experiments import delete_experiment
from paploss.controller.store.tables import Experiment
from paploss.jobs.presets import PRESETS

# Above the store statements are the same on both; those that no other test asks are asked on both here too.
pytestmark = pytest.mark.databases("sqlite")

GUIDED: dict[str, Any] = {"algorithm": "guided", "mode": "stream", "rounds": 4, "trials_per_round": 3}


def finished_search(platform: Platform, **changes: Any) -> Experiment:
    return platform.run(add_search(platform.database, rounds=3, trials_per_round=4, confirm={"seeds": 1}, **changes))


def thetas(platform: Platform, search: Experiment) -> list[list[float]]:
    return [trial.theta or [] for trial in platform.trials(search, kind="proxy")]


def test_the_published_set_then_the_best_guess_from_an_earlier_search_are_the_first_trials(platform: Platform) -> None:
    earlier = finished_search(platform)
    search = add_search(platform.database, **GUIDED, start_from=["published", earlier.id])
    platform.driver.tick()
    first, second, _ = thetas(platform, search)
    published = encode_loss(search_spec(), PRESETS["retinanet"])
    np.testing.assert_allclose(first, published)
    best = sorted(platform.trials(earlier, kind="proxy"), key=lambda trial: -(trial.reward or 0))[:4]
    distances = [np.abs(np.array(second) - np.array(trial.theta)).mean() for trial in best]
    assert max(distances) < np.abs(np.array(second) - published).mean()


def test_what_was_taken_stays_when_the_earlier_search_is_deleted_and_the_controller_restarts(
    platform: Platform,
) -> None:
    earlier = finished_search(platform)
    undisturbed, disturbed = (
        add_search(platform.database, **GUIDED, confirm={"seeds": 1}, start_from=[earlier.id]) for _ in range(2)
    )
    platform.run(undisturbed)
    platform.driver.tick()
    delete_experiment(platform.database, earlier.id)
    for _ in range(100):
        _learn.cache_clear()
        pass_term(platform.database)
        platform.driver = platform.new_driver()
        platform.driver.tick()
        if platform.search(disturbed.id).state == "succeeded":
            break
        platform.work(1)
    trials = [outcome(platform.database, each.id)["trials"][:3] for each in (undisturbed, disturbed)]
    assert trials[0] == trials[1]
    assert platform.search(disturbed.id).state == "succeeded"


def test_of_a_large_search_the_best_half_and_some_of_every_reward_are_taken(platform: Platform) -> None:
    theta = [0.25] * 41
    space = search_spec().space.model_dump()
    trials = [{"theta": theta, "reward": index / 1000, "seed": 1} for index in range(MOST_EARLIER)]
    given = {"earlier": {"name": "there", "space": space, "trials": trials}}
    search = add_search(platform.database, **GUIDED, start_from=[given, given])
    with platform.database.read() as session:
        taken = session.get_one(Experiment, search.id).earlier
    assert taken is not None
    rewards = [[trial["reward"] for trial in each["trials"]] for each in taken]
    assert [len(each) for each in rewards] == [MOST_EARLIER // 2] * 2
    assert rewards[0][:50] == [index / 1000 for index in range(199, 149, -1)]
    assert min(rewards[0]) < 0.005


def test_a_loss_that_is_given_in_full_is_an_ordinary_first_trial(platform: Platform) -> None:
    spec = search_spec()
    loss = decode_loss(spec, np.linspace(0.1, 0.6, 41).tolist())
    search = add_search(platform.database, **GUIDED, start_from=[{"loss": loss.model_dump(mode="json")}])
    platform.driver.tick()
    np.testing.assert_allclose(thetas(platform, search)[1], np.linspace(0.1, 0.6, 41))


def test_with_no_start_only_the_identity_is_given(platform: Platform) -> None:
    search = add_search(platform.database, **GUIDED, start_from="none")
    platform.driver.tick()
    published = encode_loss(search_spec(), PRESETS["retinanet"])
    assert not any(np.allclose(theta, published) for theta in thetas(platform, search))


def test_a_search_over_another_space_is_refused_with_what_would_fit(platform: Platform) -> None:
    earlier = finished_search(platform, knots=2)
    expected = r"start_from\[0\]: expected a search over heads bbox_head; knots 4, family functions.*one over .*knots 2"
    with pytest.raises(ConflictError, match=expected):
        add_search(platform.database, **GUIDED, start_from=[earlier.id])


def test_a_loss_outside_of_the_space_is_refused(platform: Platform) -> None:
    loss = decode_loss(search_spec(knots=6), [0.2] * 61).model_dump(mode="json")
    with pytest.raises(ConflictError, match=r"start_from\[0\]: bbox_head.control_points: expected shape"):
        add_search(platform.database, **GUIDED, start_from=[{"loss": loss}])


def test_what_does_not_exist_is_no_search_or_has_nothing_to_tell_is_refused(platform: Platform) -> None:
    with pytest.raises(NotFoundError, match=r"start_from\[1\]: there is no experiment 0abc"):
        add_search(platform.database, **GUIDED, start_from=["published", "0abc"])
    with pytest.raises(ConflictError, match=r"start_from\[0\]: expected a search, got the training"):
        add_search(platform.database, **GUIDED, start_from=[add_training(platform.database).id])
    with pytest.raises(ConflictError, match="has none"):
        add_search(platform.database, **GUIDED, start_from=[add_search(platform.database).id])


def test_thetas_of_another_size_are_refused(platform: Platform) -> None:
    given = {"space": search_spec().space.model_dump(), "trials": [{"theta": [0.5], "reward": 0.1, "seed": 1}]}
    with pytest.raises(ConflictError, match=r"start_from\[0\]: theta: expected shape \(41,\), got \(1,\)"):
        add_search(platform.database, **GUIDED, start_from=[{"earlier": given}])
