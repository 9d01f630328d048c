"""What the leader does with an experiment at each look: from its start to its end, jobs, what it leaves alone."""

import time
from typing import Any

import numpy as np
import pytest
import redis
from scenarios import add_search, add_training, outcome, pass_term, search_spec, succeeded
from simulation import Platform, reward_of
from sqlalchemy import event, update

from paploss.controller.experiments import rounds
from paploss.controller.experiments.confirmation import OUTCOME
from paploss.controller.experiments.kinds import KINDS
from paploss.controller.experiments.losses import decode_loss, search_space
from paploss.controller.experiments.seeds import confirm_seed, proxy_seed
from paploss.controller.loop.driver import Driver
from paploss.controller.search.guided import Guided
from paploss.controller.search.scheduling import Pace
from paploss.controller.search.screen import MOST_DRAWS, is_screened, passes
from paploss.controller.store import experiments
from paploss.controller.store.errors import ConflictError
from paploss.controller.store.tables import Experiment, Trial
from paploss.controller.store.trials.counts import Counts, count_trials
from paploss.jobs.presets import PRESETS
from paploss.jobs.spec import JobResult

# Above the store statements are the same on both; those that no other test asks are asked on both here too.
pytestmark = pytest.mark.databases("sqlite")


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.parametrize(
    ("algorithm", "mode"),
    [
        ("ppo", "round"),
        ("ppo", "stream"),
        ("released", "round"),
        ("random", "stream"),
        ("guided", "stream"),
        ("guided", "round"),
    ],
)
def test_a_search_runs_from_start_to_best_loss(platform: Platform, algorithm: str, mode: str) -> None:
    search = add_search(
        platform.database, mode=mode, algorithm=algorithm, confirm={"candidates": 3, "seeds": 2, "published": True}
    )
    found = platform.run(search)
    assert found.state == "succeeded"

    proxies = platform.trials(search, kind="proxy")
    assert len(proxies) == 3 * 4
    assert {trial.state for trial in proxies} == {"succeeded"}
    assert [row.rewards for row in platform.rounds(search)] == [4, 4, 4, None]
    assert sorted(trial.consumed_round or 0 for trial in proxies) == [0] * 4 + [1] * 4 + [2] * 4

    confirms = platform.trials(search, kind="confirm")
    assert len(confirms) == (3 + 2) * 2
    report = OUTCOME.read(found.best)
    means = {one.label: one.mean for one in report.candidates}
    assert report.mean == max(mean for mean in means.values() if mean is not None) == means[report.label]
    assert (report.count, len(report.candidates)) == (2, 3)
    assert report.identity.mean is not None
    assert report.published is not None
    assert report.published.mean is not None
    assert all(set(one.rewards) == {confirm_seed(0, 0), confirm_seed(0, 1)} for one in report.candidates)
    assert report.loss == decode_loss(search_spec(), report.theta)


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.parametrize("mode", ["stream", "round"])
def test_a_search_by_history_goes_on_alike_wherever_its_controller_was_killed(platform: Platform, mode: str) -> None:
    """Each tick by a new process, some after a commit that the process did not live to follow up."""
    thetas = []
    for killed in (False, True):
        search = add_search(
            platform.database, mode=mode, algorithm="guided", rounds=10, trials_per_round=2, screen=True
        )
        platform.run_to_the_end(search.id, most_ticks=60, killed=killed)
        trials = platform.trials(search, kind="proxy")
        thetas.append([(trial.round, trial.index, trial.seed, trial.theta) for trial in trials])
    assert len(thetas[0]) == 20
    assert thetas[0] == thetas[1]


def test_proposals_that_do_not_fit_any_more_are_not_stored(platform: Platform) -> None:
    search = add_search(platform.database, mode="stream", algorithm="guided", rounds=12, trials_per_round=2)
    spec, pace = search_spec(mode="stream", algorithm="guided", rounds=12, trials_per_round=2), Pace(workers=1, ended=0)
    plan = KINDS["search"].plan(spec, "proxy")
    with platform.database.read() as session:
        compute = rounds.look_ahead(session, search, spec, count_trials(session, search.id), pace)
    assert compute is not None
    ahead = compute()
    for proposed in (2, 2):  # the second time the same trials are asked for again
        with platform.database.write() as session:
            locked = experiments.lock_experiment(session, search.id)
            counts = Counts(open=0, failed=0, ready=0, unrewarded=0)
            rounds.advance(session, locked, spec, counts, pace=pace, plan=plan, ahead=ahead)
        assert len(platform.trials(search)) == proposed


def test_proposals_that_take_longer_than_a_term_are_stored_in_parts(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    propose = Guided.propose

    def take_long(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.05)
        return propose(*arguments, **options)

    monkeypatch.setattr(Guided, "propose", take_long)
    monkeypatch.setattr(rounds, "LOOK_AHEAD_SECONDS", 0.2)
    search = add_search(platform.database, algorithm="guided", mode="round", trials_per_round=40)
    settings = platform.settings.model_copy(update={"leader_lease_seconds": 1.0})
    assert Driver(platform.database, platform.queue, settings).tick()
    trials = platform.trials(search)
    assert [trial.number for trial in trials] == list(range(40))
    assert "trials_replaced" not in platform.events(search)


def test_losses_are_screened_before_they_are_trained_and_counted(platform: Platform) -> None:
    screened, plain = (
        add_search(platform.database, rounds=2, trials_per_round=20, screen=screen) for screen in (True, False)
    )
    space = search_space(search_spec())
    passing = []
    for search in (screened, plain):
        platform.driver.tick()
        thetas = np.array([trial.theta for trial in platform.trials(search)])
        passing.append(int(passes(space, thetas).sum()))
    assert passing[0] > passing[1]
    assert platform.rounds(screened)[0].screened_out > 0
    assert platform.rounds(plain)[0].screened_out == 0


def test_a_search_in_which_the_screen_is_wrong_finds_out(platform: Platform) -> None:
    """Losses that fail the screen are the better ones here; a tenth of the proposals may be one."""
    search = add_search(
        platform.database, algorithm="guided", mode="stream", rounds=30, trials_per_round=2, screen=True
    )
    space = search_space(search_spec())
    for _ in range(90):
        platform.driver.tick()
        while (lease := platform.start()) is not None:
            (trial,) = platform.trials(search, id=lease.trial_id)
            reward = 0.2 if passes(space, np.array([trial.theta]))[0] else 0.3
            platform.finish(lease, succeeded(reward))
        if platform.search(search.id).stage != "rounds":
            break
    first, *trials = platform.trials(search, kind="proxy")
    assert len(trials) == 59
    passing = passes(space, np.array([trial.theta for trial in trials]))
    screened = np.array([is_screened(search_spec().seed, trial.round, trial.index) for trial in trials])
    assert passing[screened].all()
    by_the_model = np.arange(len(trials)) >= 16
    assert not passing[~screened & by_the_model].all()
    assert first.theta == space.start().tolist()
    assert is_screened(search_spec().seed, first.round, first.index)
    assert platform.rounds(search)[0].screened_out < MOST_DRAWS - 1


def test_the_policy_learns(platform: Platform) -> None:
    search = add_search(platform.database, rounds=10, trials_per_round=8)
    platform.run(search)
    means = [row.mean_reward for row in platform.rounds(search)[:-1]]
    assert all(mean is not None for mean in means)
    assert means[-1] - means[0] > 0.01  # type: ignore[operator]


def test_trials_of_one_version_share_a_seed_that_no_confirmation_uses(platform: Platform) -> None:
    search = add_search(platform.database, seed=7)
    platform.run(search)
    proxies = platform.trials(search, kind="proxy")
    assert all(trial.seed == proxy_seed(7, trial.round or 0) for trial in proxies)
    confirms = {trial.seed for trial in platform.trials(search, kind="confirm")}
    assert len({trial.seed for trial in proxies}) == 3
    assert confirms.isdisjoint(trial.seed for trial in proxies)


def test_trials_of_an_algorithm_that_learns_from_the_whole_history_take_turns_with_four_seeds(
    platform: Platform,
) -> None:
    search = add_search(platform.database, algorithm="guided", mode="stream", seed=7)
    for _ in range(2):
        platform.driver.tick()
        platform.work()
    trials = platform.trials(search)
    assert len(trials) > 4
    assert [trial.seed for trial in trials] == [proxy_seed(7, trial.number % 4) for trial in trials]


def test_the_same_request_gives_the_same_search_again(platform: Platform) -> None:
    first, second = (platform.run(add_search(platform.database, seed=5)) for _ in range(2))
    assert outcome(platform.database, first.id) == outcome(platform.database, second.id)


def test_the_log_tells_the_story_of_a_search(platform: Platform) -> None:
    search = platform.run(add_search(platform.database, rounds=1))
    kinds = [kind for kind in platform.events(search) if not kind.startswith("trial")]
    assert kinds == ["experiment_started", "round_closed", "confirm_started", "experiment_succeeded"]


@pytest.mark.databases("sqlite", "postgresql")
def test_a_stream_search_keeps_every_worker_busy_across_updates(platform: Platform) -> None:
    search = add_search(platform.database, mode="stream", rounds=6)
    workers = [f"w{index}" for index in range(6)]
    for worker in workers:
        platform.take(worker)  # so that the controller knows of it
    platform.driver.tick()
    busy = {worker: platform.start(worker) for worker in workers}
    assert all(busy.values())
    for _ in range(2):  # the slowest worker never finishes, and nobody waits for it
        for worker in workers[1:]:
            lease = busy[worker]
            assert lease is not None
            platform.finish(lease)
            platform.driver.tick()
            busy[worker] = platform.start(worker)
            assert busy[worker] is not None, worker
    assert platform.search(search.id).round == 2
    assert {trial.consumed_round for trial in platform.trials(search, round=0)} == {0, 1, None}


def test_a_stream_search_updates_from_the_trials_that_ended_first(platform: Platform) -> None:
    search = add_search(platform.database, mode="stream", trials_per_round=2)
    for worker in ("w1", "w2", "w3"):
        platform.take(worker)
    platform.driver.tick()
    assert platform.work(3) == 3
    with platform.database.write() as session:
        of_last = update(Trial).where(Trial.id == f"{search.id}-000002")
        session.execute(of_last.values(finished_at=Trial.finished_at - 1))
    platform.driver.tick()
    assert [trial.number for trial in platform.trials(search, consumed_round=0)] == [0, 2]


def test_workers_that_train_are_counted_though_they_have_not_asked_for_long(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = add_search(platform.database, mode="stream", trials_per_round=2)
    platform.driver.tick()
    for worker in ("w1", "w2"):
        assert platform.start(worker) is not None
    monkeypatch.setattr(platform.queue, "consumers", lambda _gpus: [])
    platform.driver.tick()
    assert len(platform.trials(search)) == 3  # for both, and a spare one


def test_no_more_are_open_at_once_than_a_policy_that_leaves_old_trials_out_learns_from(platform: Platform) -> None:
    algorithm = {"name": "ppo", "max_staleness": 3}
    search = add_search(platform.database, mode="stream", rounds=100, trials_per_round=2, algorithm=algorithm)
    for index in range(20):
        platform.take(f"w{index}")
    platform.driver.tick()
    assert len(platform.trials(search)) == 3 * 2


def test_a_stream_search_makes_all_updates_that_are_due_in_one_look(platform: Platform) -> None:
    search = add_search(platform.database, mode="stream", rounds=6, trials_per_round=2)
    workers = [f"w{index}" for index in range(8)]
    for worker in workers:
        platform.take(worker)
    platform.driver.tick()
    assert platform.work() == 9
    commits: list[object] = []
    event.listen(platform.database.engine, "commit", commits.append)
    platform.driver.tick()
    assert len(commits) == 2  # the term, and the search
    rounds = platform.rounds(search)
    assert [(row.number, row.rewards, row.closed_at is None) for row in rounds] == [
        (0, 2, False),
        (1, 2, False),
        (2, 2, False),
        (3, 2, False),
        (4, None, True),
    ]
    by_age = [trial.consumed_round for trial in platform.trials(search, round=0)]
    assert by_age == [0, 0, 1, 1, 2, 2, 3, 3, None]
    assert [row.proposed for row in rounds] == [9, 0, 0, 0, 3]  # the newest policy proposes, all that is still to come
    assert platform.run(search).state == "succeeded"


def test_trials_shorter_than_a_looks_pause_find_as_many_as_ended_queued_twice(platform: Platform) -> None:
    search = add_search(platform.database, mode="stream", rounds=100, trials_per_round=2)
    worker = "w1"
    platform.take(worker)
    queued = []
    for _ in range(5):
        platform.driver.tick()
        queued.append(len(platform.trials(search, state="queued")))
        platform.work()
    assert queued == [2, 5, 11, 23, 32]  # one worker; at most 16 times an update's trials
    platform.driver.tick()
    platform.driver.tick()  # a look before which none has ended: there are enough
    platform.driver.tick()
    assert len(platform.trials(search, state="queued")) == 32


def test_what_went_on_under_another_leader_is_not_taken_for_speed(platform: Platform) -> None:
    search = add_search(platform.database, mode="stream", rounds=100, trials_per_round=2)
    platform.take()
    platform.driver.tick()
    pass_term(platform.database)
    other = platform.new_driver()
    for _ in range(3):
        other.tick()
        platform.work()
    assert not platform.driver.tick()
    pass_term(platform.database)
    platform.driver.tick()
    assert len(platform.trials(search, state="queued")) == 2


def test_a_round_search_waits_for_all_trials_of_its_round(platform: Platform) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    platform.work(3)
    platform.driver.tick()
    assert platform.search(search.id).round == 0
    platform.work()
    platform.driver.tick()
    assert platform.search(search.id).round == 1


def test_a_job_carries_what_was_asked_for(platform: Platform) -> None:
    changes = {
        "profile": "synthetic",
        "overrides": {"epochs": 4, "batch_size": 8},
        "synthetic": {"iterations": 7},
        "timeout_seconds": 100.0,
        "knots": 6,
        "quality": "iou",
    }
    search = add_search(platform.database, **changes)
    platform.driver.tick()
    lease = platform.start()
    assert lease is not None
    job = lease.job
    head = job.loss.heads["bbox_head"]
    assert (job.kind, job.schedule, job.overrides.epochs, job.timeout_seconds) == ("proxy", "proxy", 4, 100.0)
    assert job.synthetic is not None
    assert (job.synthetic.iterations, head.quality, len(head.control_points[0])) == (7, "iou", 8)
    assert (lease.lease_seconds, lease.renew_seconds) == (60, 5)
    assert search.id in job.trial_id


def test_a_final_training_gets_the_final_schedule_and_split(platform: Platform) -> None:
    losses = [{"label": "published", "preset": "retinanet"}]
    add_training(platform.database, losses=losses, evaluate_split="test")
    platform.driver.tick()
    lease = platform.start()
    assert lease is not None
    assert (lease.job.kind, lease.job.schedule, lease.job.evaluate_split) == ("final", "final", "test")
    assert lease.job.loss == PRESETS["retinanet"]


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.parametrize("prune", [True, False])
def test_prune_points_come_from_the_other_trials_and_stay_for_retries(platform: Platform, prune: bool) -> None:
    search = add_search(platform.database, trials_per_round=8, prune=prune)
    platform.driver.tick()
    for ap in (0.1, 0.2, 0.3, 0.4, 0.5):
        lease = platform.start()
        assert lease is not None
        assert lease.job.prune == ()
        platform.renew(lease, 0.0, ap)
        platform.finish(lease)
    lease = platform.start()
    assert lease is not None
    points = [(point.fraction, point.min_ap) for point in lease.job.prune]
    assert points == ([(0.2, pytest.approx(0.15))] if prune else [])
    other = platform.start()
    assert other is not None
    platform.renew(other, 0.0, 0.01)
    crash = JobResult(outcome="failed", error_kind="crash", error="gone")
    assert platform.finish(lease, crash) == "queued"
    platform.driver.tick()
    again = platform.claim(lease.trial_id)
    assert again.attempt == 2
    assert again.job.prune == lease.job.prune
    assert search.id in again.trial_id


def test_prune_points_are_of_the_searchs_reward(platform: Platform) -> None:
    add_search(platform.database, trials_per_round=8, reward="AP50")
    platform.driver.tick()
    for ap in (0.1, 0.2, 0.3, 0.4, 0.5):
        lease = platform.start()
        assert lease is not None
        platform.renew(lease, ap)
        platform.finish(lease)
    lease = platform.start()
    assert lease is not None
    assert lease.job.reward == "AP50"
    assert [(point.fraction, point.min_ap) for point in lease.job.prune] == [(0.1, pytest.approx(0.5 * 0.6))]


@pytest.mark.databases("sqlite", "postgresql")
def test_a_search_that_this_version_cannot_read_is_left_alone_and_holds_up_no_other(
    platform: Platform, redis_url: str
) -> None:
    strange, healthy = add_search(platform.database), add_search(platform.database)
    platform.driver.tick()
    known = platform.search(strange.id).spec
    with platform.database.write() as session:
        unknown = known | {"algorithm": {"name": "of the future"}}
        session.execute(update(Experiment).where(Experiment.id == strange.id).values(spec=unknown))
    with redis.Redis.from_url(redis_url) as raw:
        raw.flushall()
    for _ in range(2):
        platform.driver.tick()
    assert platform.queue.present(0) == {trial.id for trial in platform.trials(healthy)}
    assert platform.search(strange.id).state == "running"
    assert platform.events(strange).count("experiment_unreadable") == 1
    with platform.database.write() as session:
        session.execute(update(Experiment).where(Experiment.id == strange.id).values(spec=known))
    platform.driver.tick()
    assert len(platform.queue.present(0)) == 8


def test_a_trial_that_makes_no_job_for_this_version_is_refused_and_stays_queued(platform: Platform) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    first = platform.trials(search)[0]
    with platform.database.write() as session:
        session.execute(update(Trial).where(Trial.id == first.id).values(loss={"name": "of the future"}))
    with pytest.raises(ConflictError, match=r"can make no job of trial .*loss"):
        platform.claim(first.id)
    unclaimed = platform.trials(search)[0]
    assert (unclaimed.state, unclaimed.attempt) == ("queued", 0)


def test_the_reward_of_the_simulation_depends_on_the_loss(platform: Platform) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    first, second = platform.start(), platform.start()
    assert first is not None
    assert second is not None
    assert reward_of(first.job) != reward_of(second.job)
    assert search.id in first.trial_id


@pytest.mark.databases("sqlite", "postgresql")
def test_the_leader_clears_what_was_kept_long_enough(platform: Platform) -> None:
    training = add_training(platform.database)
    with platform.database.write() as session:
        experiments.cancel_experiment(session, training.id)
        session.execute(update(Experiment).values(finished_at=1.0))
    platform.driver.tick()
    assert platform.events(training) == ["details_cleared"]
