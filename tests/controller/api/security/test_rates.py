"""How often a caller may ask."""

from pathlib import Path

import httpx
import pytest
from controllers import RunningController
from hypothesis import given
from hypothesis import strategies as st

from paploss.controller.api.security.rates import MAX_NAMES, RateLimit
from paploss.controller.settings import Settings


def test_a_burst_is_let_in_and_then_the_even_rate() -> None:
    limit = RateLimit(per_second=2, burst_seconds=5)
    assert [limit.admit("ann", 0.0) for _ in range(10)] == [0.0] * 10
    assert limit.admit("ann", 0.0) == pytest.approx(0.5)
    assert limit.admit("ann", 0.4) == pytest.approx(0.1)
    assert limit.admit("ann", 0.5) == 0.0
    assert limit.admit("ann", 0.5) == pytest.approx(0.5)


def test_names_do_not_share_a_limit() -> None:
    limit = RateLimit(per_second=1, burst_seconds=1)
    assert limit.admit("ann", 0.0) == limit.admit("bob", 0.0) == 0.0
    assert limit.admit("ann", 0.0) > 0


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.floats(0.5, 20))
def test_no_window_admits_more_than_its_length_and_a_burst_allow(times: list[float], per_second: float) -> None:
    limit = RateLimit(per_second, burst_seconds=3)
    admitted = [time for time in sorted(times) if limit.admit("ann", time) == 0.0]
    for first, start in enumerate(admitted):
        for last, end in enumerate(admitted[first:], first):
            assert last - first + 1 <= (end - start + 3) * per_second + 1 + 1e-6


def test_what_is_remembered_is_bounded() -> None:
    limit = RateLimit(per_second=1)
    for number in range(3 * MAX_NAMES):
        limit.admit(str(number), 0.0)
    assert len(limit._paid_until) <= MAX_NAMES


def test_a_key_that_asks_too_often_is_told_when_to_try_again(sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    with (
        RunningController(sqlite_url, redis_url, tmp_path, requests_per_second=0.1) as controller,
        controller.http("viewer") as viewer,
        controller.http("user") as user,
        controller.http("worker") as worker,
    ):
        assert viewer.get("/api/v1/experiments").status_code == 200
        refused = viewer.get("/api/v1/experiments")
        assert refused.status_code == 429
        assert refused.json()["detail"].startswith("too many requests from 'viewer'")
        assert 0 < int(refused.headers["Retry-After"]) <= 10
        assert user.get("/api/v1/experiments").status_code == 200
        asked = [worker.post("/api/v1/leases/claim", json={}).status_code for _ in range(3)]
        assert asked == [422] * 3  # workers have a limit of their own


def test_who_guesses_keys_is_slowed_down_and_who_has_one_is_not(
    sqlite_url: str, redis_url: str, tmp_path: Path
) -> None:
    with (
        RunningController(sqlite_url, redis_url, tmp_path, anonymous_requests_per_second=0.5) as controller,
        controller.http("user") as user,
    ):
        wrong = {"Authorization": "Bearer paploss_wrong"}
        statuses = [httpx.get(f"{controller.url}/api/v1/experiments", headers=wrong).status_code for _ in range(6)]
        assert statuses == [401] * 5 + [429]
        assert httpx.post(f"{controller.url}/sign-in", data={"key": "guess"}).status_code == 429
        assert user.get("/api/v1/experiments").status_code == 200
        assert httpx.get(f"{controller.url}/healthz").status_code == 200


def test_the_limit_of_workers_lets_a_thousand_renew() -> None:
    settings = Settings()
    assert settings.worker_requests_per_second >= 10 * 1000 / settings.renew_seconds
