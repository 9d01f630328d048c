from itertools import pairwise
from typing import Any

import pytest

from paploss.controller.scaling.plan import (
    BURST,
    FIRST_DELAY_SECONDS,
    LASTING_SECONDS,
    LONGEST_DELAY_SECONDS,
    SLOW_START_SECONDS,
    BackOff,
    Plan,
    WorkerJob,
    decide,
    share_out,
)
from paploss.controller.scaling.pools import Pool

KEEP_SECONDS = 3600.0
OBSTACLE = "cannot be scheduled: 0/1 nodes are available"


def pool(**changes: Any) -> Pool:
    return Pool.model_validate({"name": "gpu", "gpus": 1, "maximum": 10, "job": {}} | changes)


def job(ordinal: int, state: str = "running", trouble: str = "", template: str = "t", leaving: int = 0) -> WorkerJob:
    return WorkerJob(
        name=f"job-{ordinal}",
        uid=f"uid-{ordinal}",
        resource_version="1",
        ordinal=ordinal,
        template=template,
        state=state,  # type: ignore[arg-type]
        trouble=trouble,
        pod=f"pod-{ordinal}",
        leaving=leaving,
    )


def look(wanted: int, *jobs: WorkerJob, back_off: BackOff | None = None, time: float = 0.0, **changes: Any) -> Plan:
    return decide(
        pool(**changes),
        wanted,
        jobs,
        template="t",
        back_off=back_off or BackOff(),
        keep_ended_seconds=KEEP_SECONDS,
        time=time,
    )


@pytest.mark.parametrize(
    ("wanted", "changes", "created"),
    [
        (0, {}, 0),
        (3, {}, 3),
        (30, {}, 10),
        (0, {"minimum": 2}, 2),
        (5, {"slots": 4}, 2),
        (100, {"maximum": 50}, BURST),
        (3, {"maximum": 0}, 0),
    ],
)
def test_as_many_workers_as_are_wanted_within_limits(wanted: int, changes: dict[str, Any], created: int) -> None:
    assert list(look(wanted, **changes).create) == list(range(created))


def test_workers_that_are_there_count_whatever_they_do() -> None:
    plan = look(5, job(0), job(1, "waiting"), job(2, "starting"), job(3, "suspended"))
    assert list(plan.create) == [4]
    assert not plan.withdraw


def test_ended_workers_do_not_count_but_keep_their_names() -> None:
    assert list(look(2, job(0, "succeeded"), job(2)).create) == [1]


def test_a_worker_that_leaves_is_replaced_at_once_within_the_maximum() -> None:
    assert list(look(2, job(0), job(1, "leaving", leaving=1)).create) == [2]
    assert not look(2, job(0), job(1, "leaving", leaving=1), maximum=2).create


def test_never_more_pods_than_the_maximum_whatever_their_jobs_are_called() -> None:
    replaced = job(0, "running", leaving=1)  # its old pod leaves a checkpoint, its new one runs
    assert list(look(9, replaced, job(1, "failed", leaving=1), maximum=4).create) == [2]
    assert not look(9, replaced, job(1, "failed", leaving=1), job(2), maximum=4).create


def test_disrupted_workers_are_no_failures() -> None:
    back_off = BackOff()
    ended = [job(ordinal, "failed", "") for ordinal in range(4)]
    plan = look(4, *ended, back_off=back_off)
    assert (len(plan.create), plan.trouble) == (4, "")


def test_ended_jobs_are_cleared_after_a_while_and_those_with_a_live_pod_are_not() -> None:
    back_off = BackOff()
    jobs = [job(0, "succeeded"), job(1, "failed", leaving=1), job(2)]
    assert not look(1, *jobs, back_off=back_off).clear
    assert [cleared.ordinal for cleared in look(1, *jobs, back_off=back_off, time=KEEP_SECONDS).clear] == [0]


def test_a_worker_that_runs_or_starts_is_never_taken_back() -> None:
    assert not look(0, job(0), job(1, "starting")).withdraw


def test_of_those_that_wait_only_the_surplus_is_taken_back() -> None:
    plan = look(2, job(0), job(1, "waiting"), job(2, "waiting"), job(3, "suspended"))
    assert [taken.ordinal for taken in plan.withdraw] == [3, 2]


def test_one_that_waits_with_an_outdated_template_is_replaced_when_it_is_gone() -> None:
    old = job(0, "waiting", template="old")
    plan = look(1, old)
    assert list(plan.withdraw) == [old]
    assert not plan.create
    assert list(look(1).create) == [0]


def test_those_with_an_outdated_template_do_not_count_where_others_are_too_many() -> None:
    old, new = job(0, "waiting", template="old"), job(1, "waiting")
    assert list(look(1, old, new).withdraw) == [old]


def test_an_obstacle_holds_new_workers_back_ever_longer() -> None:
    back_off = BackOff()
    blocked = (job(0, "waiting", OBSTACLE), job(1))
    tries = [time for time in range(3000) if look(10, *blocked, back_off=back_off, time=float(time)).create]
    gaps = [after - before for before, after in zip([0, *tries], tries, strict=False)]
    assert gaps[:4] == [FIRST_DELAY_SECONDS * 2**n for n in range(4)]
    assert max(gaps) == LONGEST_DELAY_SECONDS


def test_the_obstacle_is_told_until_it_is_gone() -> None:
    back_off = BackOff()
    assert look(3, job(0, "waiting", OBSTACLE), back_off=back_off).trouble == OBSTACLE
    plan = look(3, job(0), back_off=back_off, time=1.0)
    assert plan.trouble == ""
    assert list(plan.create) == [1, 2]


def test_workers_that_fail_at_once_are_tried_one_at_a_time() -> None:
    back_off = BackOff()
    ended = [job(ordinal, "failed", "exit status 2") for ordinal in range(4)]
    assert not look(4, *ended, back_off=back_off).create
    assert list(look(4, *ended, back_off=back_off, time=FIRST_DELAY_SECONDS).create) == [4]
    begun = [*ended, job(4)]
    assert not look(4, *begun, back_off=back_off, time=FIRST_DELAY_SECONDS + 1).create
    plan = look(4, *begun, back_off=back_off, time=FIRST_DELAY_SECONDS + 1 + LASTING_SECONDS)
    assert len(plan.create) == 3
    assert plan.trouble == ""


def test_a_worker_that_ends_well_shows_that_the_pool_works() -> None:
    back_off = BackOff()
    failed = job(0, "failed", "exit status 2")
    assert look(1, failed, back_off=back_off).trouble
    assert not look(1, failed, job(1, "succeeded"), back_off=back_off, time=30.0).trouble


def test_a_worker_that_runs_already_does_not_show_that_new_ones_can() -> None:
    back_off = BackOff()
    look(1, job(0), back_off=back_off)
    failed: list[WorkerJob] = []
    for time in range(100, 1900, 5):
        plan = look(10, job(0), *failed, back_off=back_off, time=float(time))
        failed += [job(ordinal, "failed", "exit status 2") for ordinal in plan.create]
    assert len(failed) < 9 + 10  # those of the first look, then one at a time
    assert plan.trouble == "exit status 2"


def test_a_short_memory_of_ended_jobs_makes_no_pool_forget_that_its_workers_fail() -> None:
    back_off = BackOff()
    tries: list[tuple[int, WorkerJob]] = []
    for time in range(0, 7200, 5):
        kept = [failed for at, failed in tries if time - at < 60]
        for _ in look(1, *kept, back_off=back_off, time=float(time)).create:
            tries.append((time, job(len(tries), "failed", "exit status 2")))
    gaps = [after - before for (before, _), (after, _) in pairwise(tries)]
    assert gaps == sorted(gaps)
    assert gaps[-1] >= LONGEST_DELAY_SECONDS


def test_a_failure_is_forgotten_where_no_more_workers_are_wanted() -> None:
    back_off = BackOff()
    jobs = [job(0), job(1, "failed", "exit status 2")]
    look(1, job(0), back_off=back_off)
    assert look(1, *jobs, back_off=back_off, time=100.0).trouble
    end = 100.0 + FIRST_DELAY_SECONDS + LONGEST_DELAY_SECONDS
    assert look(1, *jobs, back_off=back_off, time=end - 1).trouble
    assert not look(1, *jobs, back_off=back_off, time=end).trouble


def test_a_pool_whose_workers_fail_is_tried_for_weeks() -> None:
    back_off = BackOff()
    for number in range(2000):
        look(0, job(number, "failed", "exit status 2"), back_off=back_off, time=number * LONGEST_DELAY_SECONDS)
    assert back_off.delay_seconds == LONGEST_DELAY_SECONDS


def test_a_job_that_gets_no_pod_is_an_obstacle_after_a_while() -> None:
    back_off = BackOff()
    podless = WorkerJob("job-0", "uid", "1", 0, "t", "waiting")
    assert not look(1, podless, back_off=back_off).trouble
    assert "no pod was made for the Job job-0" in look(1, podless, back_off=back_off, time=LASTING_SECONDS).trouble


def test_a_pod_that_has_a_node_and_does_not_begin_is_told_after_minutes() -> None:
    back_off = BackOff()
    assert not look(1, job(0, "starting"), back_off=back_off).trouble
    assert not look(1, job(0, "starting"), back_off=back_off, time=SLOW_START_SECONDS - 1).trouble
    trouble = look(1, job(0, "starting"), back_off=back_off, time=SLOW_START_SECONDS).trouble
    assert trouble.startswith("pod-0 has a node and has not begun")
    assert not look(1, job(0), back_off=back_off, time=SLOW_START_SECONDS + 1).trouble


def test_the_wait_for_a_node_is_not_counted_as_a_slow_start() -> None:
    back_off = BackOff()
    look(1, job(0, "waiting"), back_off=back_off)
    assert not look(1, job(0, "starting"), back_off=back_off, time=SLOW_START_SECONDS).trouble


def test_earlier_pools_of_a_class_are_filled_first() -> None:
    pools = [pool(maximum=2, slots=2), pool(name="more"), pool(name="other", gpus=8)]
    assert share_out(pools, {1: 7, 0: 5}) == {"gpu": 4, "more": 3, "other": 0}
