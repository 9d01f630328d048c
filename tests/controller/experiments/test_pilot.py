"""A search's pilot: rates and noise first, a sentence about both, and a pause where the user is to decide."""

import numpy as np
import pytest
from scenarios import add_search, search_spec
from simulation import Platform, metrics

from paploss.client.comparison import RateResult
from paploss.client.estimates import count_pilot, estimate_search
from paploss.client.specs import SearchSpec
from paploss.controller.experiments.pilot_report import Findings, describe
from paploss.controller.experiments.seeds import rate_check_seeds
from paploss.controller.store.documents import SPEC
from paploss.controller.store.experiments import resume_experiment
from paploss.controller.store.tables import Event, Experiment
from paploss.jobs.spec import JobResult

# Above the store statements are the same on both; those that no other test asks are asked on both here too.
pytestmark = pytest.mark.databases("sqlite")

CONFIRM = {"candidates": 1, "seeds": 2, "most_seeds": 4, "rivals": ["focal_giou", "ap_l1"]}
MEANS = {"published": 0.30, "Focal + GIoU": 0.36, "AP Loss + L1": 0.42}


def train(
    platform: Platform,
    search: Experiment,
    *,
    until: str,
    best_rate: float = 1.0,
    lead: float = 0.1,
    means: object = None,
) -> None:
    """Run trials until the search has left this stage, or has ended.

    Each loss is best at `best_rate`, by this part of its mean; a seed adds the same at all rates.
    """
    for _ in range(30):
        platform.driver.tick()
        now = platform.search(search.id)
        if now.stage != until or now.state != "running":
            return
        while (lease := platform.start()) is not None:
            (trial,) = platform.trials(search, id=lease.trial_id)
            noise = np.random.default_rng((trial.seed, len(trial.label), 3)).normal(0, 0.005)
            known = MEANS if means is None else means
            reward = (
                known.get(trial.label, 0.35)
                + noise
                - lead * known.get(trial.label, 0.35) * (trial.learning_rate_factor != best_rate)
            )
            platform.finish(lease, JobResult(outcome="succeeded", reward=reward, metrics=metrics(reward)))
    raise AssertionError(f"the search stays in the stage {until}")


def told(platform: Platform, search: Experiment) -> str:
    with platform.database.read() as session:
        (event,) = session.query(Event).filter_by(experiment_id=search.id, kind="pilot_ended")
        return event.message


def test_rates_and_noise_are_measured_before_the_first_round(platform: Platform) -> None:
    search = add_search(platform.database, rounds=1, pilot="tell", confirm=CONFIRM)
    assert search.stage == "pilot"
    train(platform, search, until="pilot")
    found = platform.search(search.id)
    assert (found.stage, found.state) == ("rounds", "running")
    trials = [trial for trial in platform.trials(search) if trial.kind == "rate_check"]
    checks, repeats = trials[:9], trials[9:]
    assert [(one.label, one.learning_rate_factor) for one in checks] == [
        (label, factor) for label in ("published", "Focal + GIoU", "AP Loss + L1") for factor in (0.5, 1.0, 2.0)
    ]
    assert [one.label for one in repeats] == ["published", "AP Loss + L1", "Focal + GIoU"] * 3
    assert {one.learning_rate_factor for one in repeats} == {1.0}
    assert len({one.seed for one in repeats} - {one.seed for one in checks}) == 3
    assert len(trials) == count_pilot(SPEC.read(search.spec))


@pytest.mark.databases("sqlite", "postgresql")
def test_its_sentence_says_what_may_be_gained_and_told(platform: Platform) -> None:
    search = add_search(platform.database, rounds=10, pilot="tell", confirm=CONFIRM)
    train(platform, search, until="pilot")
    sentence = told(platform, search)
    assert sentence.startswith("Pilot of 18 trainings: the published set reaches AP 3")
    assert "AP Loss + L1 differs from it by +1" in sentence
    assert "AP over the best of the losses tried, and its race of up to 4 seeds can detect" in sentence
    assert sentence.endswith("Worth going on.")


def test_a_pilot_takes_nothing_from_the_hours_of_the_rounds_but_says_how_long_a_trial_is(platform: Platform) -> None:
    search = add_search(
        platform.database, rounds=10, trials_per_round=10, worker_hours=5, pilot="tell", confirm=CONFIRM
    )
    spec = SPEC.read(search.spec)
    assert isinstance(spec, SearchSpec)
    for _ in range(4):
        platform.driver.tick()
        if platform.search(search.id).stage != "pilot":
            break
        while (lease := platform.start()) is not None:
            (trial,) = platform.trials(search, id=lease.trial_id)
            reward = 0.3 + 0.1 * (trial.learning_rate_factor == 1)
            platform.finish(lease, JobResult(outcome="succeeded", reward=reward, metrics=metrics(reward)))
            platform.set_hours([lease.trial_id], 1.0)
    assert platform.search(search.id).stage != "pilot"
    expected = estimate_search(spec, 3600.0)
    assert len(platform.trials(search, kind="rate_check")) == expected.pilot == 18
    assert len(platform.trials(search, kind="proxy")) == expected.proxies == 5


def test_a_search_that_asks_waits_paused_and_goes_on_when_it_is_resumed(platform: Platform) -> None:
    search = add_search(platform.database, rounds=1, pilot="ask", confirm=CONFIRM)
    train(platform, search, until="pilot")
    found = platform.search(search.id)
    assert (found.state, found.reason) == ("paused", told(platform, search))
    platform.driver.tick()
    assert not platform.trials(search, kind="proxy")
    with platform.database.write() as session:
        resume_experiment(session, search.id)
    platform.driver.tick()
    assert platform.trials(search, kind="proxy")
    assert platform.search(search.id).reason == ""


def test_the_race_takes_the_rates_of_the_pilot_and_checks_none_again(platform: Platform) -> None:
    search = add_search(platform.database, rounds=1, pilot="tell", confirm=CONFIRM)
    train(platform, search, until="pilot", best_rate=2.0)
    train(platform, search, until="rounds")
    train(platform, search, until="confirm")
    assert platform.search(search.id).state == "succeeded"
    second_seeds = 3 * 2
    checks = platform.trials(search, kind="rate_check")
    assert len(checks) == 18 + second_seeds
    assert {trial.learning_rate_factor for trial in checks[-9:]} == {2.0}  # with the further seeds
    raced = {trial.label: trial.learning_rate_factor for trial in platform.trials(search, kind="confirm")}
    assert (raced["Focal + GIoU"], raced["AP Loss + L1"]) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"means": dict.fromkeys(MEANS, 0.02)}, "make the proxies longer"),
        ({"best_rate": 2.0}, "the best learning rate of the published set is the largest that was tried"),
        ({"means": dict.fromkeys(MEANS, 0.4)}, "what it may gain is less than it can detect"),
    ],
)
def test_what_had_better_be_changed_first_is_said(platform: Platform, changes: dict[str, object], advice: str) -> None:
    search = add_search(platform.database, rounds=1, pilot="tell", confirm=CONFIRM)
    train(platform, search, until="pilot", **changes)
    assert advice in told(platform, search).partition("Look first: ")[2]


def test_all_that_had_better_be_changed_is_said_together(platform: Platform) -> None:
    search = add_search(platform.database, rounds=10, pilot="tell", confirm=CONFIRM)
    train(platform, search, until="pilot", best_rate=0.5, means=dict.fromkeys(MEANS, 0.4))
    sentence = told(platform, search)
    assert "trains at 0.5 times the profile's learning rate" in sentence
    assert "is the smallest that was tried; set overrides.learning_rate near it; and what it may gain is" in sentence


def test_a_rate_that_is_ahead_by_no_more_than_noise_is_no_reason_to_change_it(platform: Platform) -> None:
    search = add_search(platform.database, rounds=10, pilot="tell", confirm=CONFIRM)
    train(platform, search, until="pilot", best_rate=2.0, lead=0.01)
    sentence = told(platform, search)
    assert "trains at 2 times the profile's learning rate" in sentence
    assert sentence.endswith("Worth going on.")


def test_a_start_without_a_result_at_the_profiles_rate_is_a_reason_to_change_it() -> None:
    seeds = {0: 0.30, 1: 0.31, 2: 0.29}
    found = Findings(
        start="published",
        trainings=12,
        rates={
            "published": [RateResult(factor=0.5, ap=0.3), RateResult(factor=1, ap=None), RateResult(factor=2, ap=None)],
            "ap_l1": [RateResult(factor=1, ap=0.4)],
        },
        default_rates={"published": 1.0, "ap_l1": 1.0},
        repeated={"published": seeds, "ap_l1": {seed: 0.7 - reward for seed, reward in seeds.items()}},
    )
    sentence = describe(search_spec(rounds=10, confirm=CONFIRM), found)
    assert "the best learning rate of the published set is the smallest that was tried" in sentence


def repeated(**rewards: dict[int, float]) -> Findings:
    """Of losses that were tried at the profile's rate alone, and trained again with these rewards by seed."""
    return Findings(
        start="published",
        trainings=12,
        rates={label: [RateResult(factor=1, ap=0.4)] for label in rewards},
        default_rates=dict.fromkeys(rewards, 1.0),
        repeated=rewards,
    )


def test_trainings_that_fail_are_said_to_be_why_the_noise_is_not_known() -> None:
    found = repeated(published={0: 0.4, 1: 0.41, 2: 0.39}, ap_l1={0: 0.4})
    advice = describe(search_spec(confirm=CONFIRM), found).partition("Look first: ")[2]
    assert advice.startswith("the noise could not be measured, because no two losses have results with two seeds")
    assert "what it may gain" not in advice


def test_a_race_of_one_seed_is_said_to_tell_nothing() -> None:
    found = repeated(published={0: 0.4, 1: 0.41}, ap_l1={0: 0.42, 1: 0.41})
    sentence = describe(search_spec(confirm=CONFIRM | {"seeds": 1, "most_seeds": 1}), found)
    assert "its race of up to 1 seed can detect nothing." in sentence
    assert "confirm.most_seeds allows a longer race" in sentence


def test_a_start_that_hardly_trains_does_not_make_a_search_of_equal_losses_worth_it(platform: Platform) -> None:
    confirm = CONFIRM | {"rivals": ["focal_l1_giou", "ap_l1", "rank_sort", "mal"]}
    search = add_search(
        platform.database, profile="deformable-detr-tiny", rounds=10, trials_per_round=10, pilot="tell", confirm=confirm
    )
    train(platform, search, until="pilot", means={"identity": 0.012, "AP Loss + L1": 0.35})
    advice = told(platform, search).partition("Look first: ")[2]
    assert advice.startswith("what it may gain is less than it can detect")
    trials = platform.trials(search)
    repeated = [one.label for one in trials if one.seed not in rate_check_seeds(0) and one.kind == "rate_check"]
    assert len(repeated) == 9
    assert "identity" not in repeated


def test_one_loss_beside_the_identity_shows_noise_and_no_spread(platform: Platform) -> None:
    confirm = CONFIRM | {"rivals": ["ap_l1"]}
    search = add_search(platform.database, profile="deformable-detr-tiny", pilot="tell", confirm=confirm)
    train(platform, search, until="pilot", means={"identity": 0.2, "AP Loss + L1": 0.25})
    sentence = told(platform, search)
    assert "its race of up to 4 seeds can detect" in sentence
    assert "Look first: what it may gain could not be measured" in sentence


def test_a_pilot_without_any_result_fails_the_search_and_says_why(platform: Platform) -> None:
    search = add_search(
        platform.database,
        rounds=1,
        pilot="tell",
        confirm=CONFIRM,
        budgets={"max_failed_trials": 100, "max_failed_attempts": 1},
    )
    slow = JobResult(outcome="failed", error_kind="timeout", error="it took longer than 1 s")
    for _ in range(4):  # the queue is filled in parts
        platform.driver.tick()
        platform.work(result=slow)
    found = platform.search(search.id)
    assert found.state == "failed"
    assert "no training of the pilot ended with a result" in found.reason
