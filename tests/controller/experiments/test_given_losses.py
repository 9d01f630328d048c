"""The learning-rate check of a comparison: short trainings first, then every loss with the rate that suits it."""

import numpy as np
import pytest
from scenarios import add_search, add_training
from simulation import Platform, metrics

from paploss.controller.api.comparisons import read_comparison
from paploss.controller.experiments import given_losses
from paploss.controller.search.scheduling import Pace
from paploss.controller.store.documents import SPEC
from paploss.controller.store.errors import ConflictError
from paploss.controller.store.tables import Event, Experiment
from paploss.controller.store.trials.counts import Counts
from paploss.jobs.presets import PRESETS
from paploss.jobs.spec import JobResult, JobSpec

# Above the store statements are the same on both; those that no other test asks are asked on both here too.
pytestmark = pytest.mark.databases("sqlite")

FAILED = JobResult(outcome="failed", error_kind="user", error="no such file")
BEST_RATES = {"published": 2.0, "start": 0.5}


def add_comparison(platform: Platform, **changes: object) -> Experiment:
    given = {"kind": "comparison", "seeds": [1, 2], "learning_rates": [0.5, 1, 2], "evaluate_split": "test"}
    return add_training(platform.database, **given | changes)


def label_of(platform: Platform, search: Experiment, job: JobSpec) -> str:
    (trial,) = platform.trials(search, id=job.trial_id)
    return trial.label


def train_all(platform: Platform, search: Experiment, failing: str = "") -> list[JobSpec]:
    """Run what is queued: each loss is best at its rate in BEST_RATES; a label that is `failing` has no result."""
    jobs = []
    while (lease := platform.start()) is not None:
        jobs.append(lease.job)
        label = label_of(platform, search, lease.job)
        reward = 0.3 if lease.job.learning_rate_factor == BEST_RATES[label] else 0.2
        result = JobResult(outcome="succeeded", reward=reward, metrics=metrics(reward))
        platform.finish(lease, FAILED if label == failing else result)
    return jobs


def check_rates(platform: Platform, search: Experiment, failing: str = "") -> None:
    """Run the whole check of learning rates, as `train_all` does."""
    while platform.search(search.id).stage == "rates":
        train_all(platform, search, failing)
        platform.driver.tick()


def test_each_loss_is_trained_with_the_rate_that_its_check_chose(platform: Platform) -> None:
    search = add_comparison(platform)
    platform.driver.tick()
    checks = train_all(platform, search)
    assert [(job.kind, job.learning_rate_factor) for job in checks] == [
        ("rate_check", factor) for _ in BEST_RATES for factor in (0.5, 1.0, 2.0)
    ]
    platform.driver.tick()
    assert platform.search(search.id).stage == "rates"
    again = train_all(platform, search)  # with a second seed, the profile's rate and what is ahead of it
    assert [job.learning_rate_factor for job in again] == [1.0, 2.0, 1.0, 0.5]
    assert [len({job.seed for job in jobs}) for jobs in (checks, again, checks + again)] == [1, 1, 2]
    platform.driver.tick()
    assert platform.search(search.id).stage == "trainings"
    jobs = train_all(platform, search)
    assert [(label_of(platform, search, job), job.seed, job.learning_rate_factor) for job in jobs] == [
        ("published", 1, 2.0),
        ("start", 1, 0.5),
        ("published", 2, 2.0),
        ("start", 2, 0.5),
    ]
    platform.driver.tick()
    assert platform.search(search.id).state == "succeeded"
    kinds = [kind for kind in platform.events(search) if not kind.startswith("trial")]
    assert kinds == ["experiment_started", "rates_chosen", "experiment_succeeded"]


def test_a_check_is_short_measured_on_val_and_with_a_seed_of_its_own(platform: Platform) -> None:
    search = add_comparison(platform, overrides={"epochs": 12, "batch_size": 4}, seeds=[0, 1])
    platform.driver.tick()
    check = train_all(platform, search)[0]
    assert (check.schedule, check.evaluate_split, check.seed) == ("proxy", "val", 2)
    assert (check.overrides.epochs, check.overrides.batch_size) == (None, 4)
    platform.driver.tick()
    second = train_all(platform, search)[0]
    assert (second.schedule, second.evaluate_split, second.overrides) == ("proxy", "val", check.overrides)
    assert second.seed not in (0, 1, 2)
    platform.driver.tick()
    training = train_all(platform, search)[0]
    assert (training.kind, training.schedule, training.evaluate_split) == ("compare", "final", "test")
    assert training.overrides.epochs == 12


def test_a_check_of_proxy_trainings_is_as_long_as_they_are(platform: Platform) -> None:
    search = add_comparison(platform, schedule="proxy", overrides={"epochs": 1})
    platform.driver.tick()
    assert train_all(platform, search)[0].overrides.epochs == 1


def test_no_training_begins_before_every_check_has_ended(platform: Platform) -> None:
    search = add_comparison(platform)
    platform.driver.tick()
    last = platform.start()
    assert last is not None
    train_all(platform, search)
    platform.driver.tick()
    assert platform.search(search.id).stage == "rates"
    platform.finish(last, FAILED)
    platform.driver.tick()
    assert not platform.trials(search, kind="compare")
    train_all(platform, search)  # with the second seed
    platform.driver.tick()
    assert platform.search(search.id).stage == "trainings"


def test_a_loss_whose_checks_all_failed_is_trained_with_the_profiles_rate(platform: Platform) -> None:
    search = add_comparison(platform)
    platform.driver.tick()
    check_rates(platform, search, failing="start")
    factors = {trial.label: trial.learning_rate_factor for trial in platform.trials(search, kind="compare")}
    assert factors == {"published": 2.0, "start": 1.0}


def add_found(platform: Platform, **changes: object) -> Experiment:
    """A search that has ended, with a loss that it found at three times the profile's rate."""
    found = add_search(platform.database, **changes)
    with platform.database.write() as session:
        row = session.get_one(Experiment, found.id)
        row.state = "succeeded"
        row.best = {"loss": PRESETS["retinanet"].model_dump(mode="json"), "learning_rate_factor": 3.0}
    return found


def test_a_loss_keeps_the_rate_that_it_was_given_or_found_with_unless_another_is_ahead(platform: Platform) -> None:
    given = {"label": "given", "preset": "identity", "learning_rate_factor": 4.0}
    search = add_comparison(platform, losses=[given, {"label": "found", "search": add_found(platform).id}])
    platform.driver.tick()
    assert [trial.learning_rate_factor for trial in platform.trials(search)] == [2.0, 4.0, 8.0, 1.5, 3.0, 6.0]
    platform.work()  # the rates make no difference
    platform.driver.tick()
    factors = {(trial.label, trial.learning_rate_factor) for trial in platform.trials(search, kind="compare")}
    assert factors == {("given", 4.0), ("found", 3.0)}


def test_a_rate_that_no_job_can_have_is_refused_with_the_request(platform: Platform) -> None:
    given = {"label": "given", "preset": "identity", "learning_rate_factor": 60.0}
    with pytest.raises(ConflictError, match=r"losses\[given\]: expected a rate of at most 100 times"):
        add_comparison(platform, losses=[given])


def test_a_loss_that_was_found_for_other_heads_is_refused(platform: Platform) -> None:
    found = {"label": "found", "search": add_found(platform).id}
    with pytest.raises(ConflictError, match="a loss for synthetic does not fit faster-rcnn-tiny"):
        add_comparison(platform, losses=[found], profile="faster-rcnn-tiny")


def test_a_comparison_whose_trainings_all_failed_has_failed_whatever_its_checks_measured(platform: Platform) -> None:
    search = add_comparison(platform)
    platform.driver.tick()
    check_rates(platform, search)
    platform.work(result=FAILED)
    platform.driver.tick()
    found = platform.search(search.id)
    assert (found.state, found.reason) == ("failed", "no training ended with a result; see the trials' errors")


def test_without_factors_the_trainings_begin_at_once(platform: Platform) -> None:
    search = add_comparison(platform, learning_rates=[])
    assert platform.search(search.id).stage == "trainings"
    assert {trial.kind for trial in platform.trials(search)} == {"compare"}


@pytest.mark.databases("sqlite", "postgresql")
def test_many_trainings_are_proposed_in_parts_as_they_are_wanted(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given_losses, "PART", 4)
    search = add_comparison(platform, seeds=range(30), learning_rates=[0.5, 1, 2])
    platform.driver.tick()
    check_rates(platform, search)
    assert len(platform.trials(search, kind="compare")) < 30
    while platform.search(search.id).state == "running":
        train_all(platform, search)
        platform.driver.tick()
    trainings = platform.trials(search, kind="compare")
    found = [(trial.seed, trial.label, trial.learning_rate_factor) for trial in trainings]
    assert found == [(seed, label, rate) for seed in range(30) for label, rate in BEST_RATES.items()]


def test_more_is_proposed_where_many_workers_wait(platform: Platform) -> None:
    search = add_comparison(platform, seeds=range(1000), learning_rates=[])
    spec = SPEC.read(search.spec)
    kind = given_losses.GivenLosses("compare")
    counts = Counts(open=500, failed=0, ready=0, unrewarded=0)
    with platform.database.read() as session:
        assert not kind.is_due(session, search, spec, counts, Pace(workers=200, ended=0))
        assert kind.is_due(session, search, spec, counts, Pace(workers=300, ended=0))


MEANS = {"published": 0.5, "start": 0.495, "far": 0.2}


def race(platform: Platform, failing_seed: int | None = None, **changes: object) -> Experiment:
    """A comparison of three losses with the AP of MEANS, on which each seed and loss adds a little of its own; with
    `failing_seed` the loss `start` cannot be trained."""
    far = {"label": "far", "loss": {"name": "focal_l1"}}
    published = {"label": "published", "preset": "published", "learning_rate_factor": 2.0}
    losses = [published, {"label": "start", "preset": "identity"}, far]
    search = add_comparison(platform, losses=losses, learning_rates=[], seeds=[5, 0], **changes)
    while platform.search(search.id).state == "running":
        while (lease := platform.start()) is not None:
            label = label_of(platform, search, lease.job)
            reward = MEANS[label] + 0.002 * np.sin((len(label) + 1) * lease.job.seed)
            result = JobResult(outcome="succeeded", reward=reward, metrics=metrics(reward))
            fails = (label, lease.job.seed) == ("start", failing_seed)
            platform.finish(lease, FAILED if fails else result)
        platform.driver.tick()
    return search


def seeds_by_loss(platform: Platform, search: Experiment) -> dict[str, list[int]]:
    trials = platform.trials(search, kind="compare")
    return {label: [trial.seed for trial in trials if trial.label == label] for label in MEANS}


@pytest.mark.databases("sqlite", "postgresql")
def test_losses_that_are_not_told_apart_yet_get_more_seeds_and_others_leave(platform: Platform) -> None:
    search = race(platform, most_seeds=12)
    seeds = seeds_by_loss(platform, search)
    assert seeds["far"] == [5, 0]
    assert seeds["published"] == seeds["start"]
    assert 2 < len(seeds["start"]) <= 12
    assert seeds["start"][:4] == [5, 0, 2, 3]  # 1 is kept for checks of rates
    rates = {(trial.label, trial.learning_rate_factor) for trial in platform.trials(search, kind="compare")}
    assert rates == {("published", 2.0), ("start", 1.0), ("far", 1.0)}
    with platform.database.read() as session:
        comparison = read_comparison(session, search.id)
    assert comparison.seeds == tuple(seeds["start"])
    assert comparison.verdict is not None
    assert (comparison.verdict.use, comparison.verdict.is_decided) == ("published", True)


def test_added_seeds_end_with_the_most_that_are_allowed(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEANS, "start", 0.5)
    monkeypatch.setattr(given_losses, "PART", 3)  # the parts in which they are proposed make no difference
    search = race(platform, most_seeds=8)
    seeds = [5, 0, 2, 3, 4, 6, 7, 8]
    assert seeds_by_loss(platform, search) == {"published": seeds, "start": seeds, "far": [5, 0]}


def test_a_training_with_an_added_seed_that_failed_is_not_proposed_again(platform: Platform) -> None:
    search = race(platform, failing_seed=2, most_seeds=3)
    seeds = [5, 0, 2]
    assert platform.search(search.id).state == "succeeded"
    assert seeds_by_loss(platform, search) == {"published": seeds, "start": seeds, "far": [5, 0]}


def test_one_loss_is_the_one_to_use_and_gets_no_more_seeds(platform: Platform) -> None:
    loss = {"label": "start", "preset": "identity"}
    search = add_comparison(platform, losses=[loss], learning_rates=[], seeds=[0], most_seeds=3)
    platform.run(search)
    with platform.database.read() as session:
        comparison = read_comparison(session, search.id)
        started = session.query(Event).filter_by(experiment_id=search.id, kind="experiment_started").one()
    assert comparison.seeds == (0,)
    assert comparison.verdict is not None
    assert comparison.verdict.sentence == "Use start: alone over 1 common seed."
    assert started.message == "1 loss with 1 seed each"


def test_without_most_seeds_no_seed_is_added(platform: Platform) -> None:
    assert set(map(tuple, seeds_by_loss(platform, race(platform)).values())) == {(5, 0)}
