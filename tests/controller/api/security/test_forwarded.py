"""X-Forwarded-For and -Proto: heard of the proxies that the operator names, and of nobody else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from controllers import RunningController

FEW = {"anonymous_requests_per_second": 0.5}
"""Five at once."""
HOSTILE = ("1.2.3.4, 5.6.7.8", "::1", "[::1]:80", "[", "unknown", "x" * 10_000, "%00", "'; --", ",,,")


@pytest.fixture(params=["", "127.0.0.1"], ids=["no proxy", "a proxy here"])
def named(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", request.param)
    return str(request.param)


@pytest.fixture
def controller(named: str, sqlite_url: str, redis_url: str, tmp_path: Path) -> Iterator[RunningController]:
    assert named is not None
    with RunningController(sqlite_url, redis_url, tmp_path, **FEW) as running:
        yield running


def test_only_a_proxy_says_who_asks(controller: RunningController, named: str) -> None:
    headers = [{"Authorization": "Bearer guessed", "X-Forwarded-For": f"10.0.0.{number}"} for number in range(10)]
    with controller.http() as http:
        answers = {http.get("/api/v1/experiments", headers=each).status_code for each in headers}
    assert answers == ({401} if named else {401, 429})


def test_only_a_proxy_says_that_a_browser_came_by_https(controller: RunningController, named: str) -> None:
    with controller.http() as http:
        for proto in ("https", "javascript", "https, http"):
            headers = {"X-Forwarded-Proto": proto, "Origin": controller.url}
            reply = http.post("/sign-in", data={"key": controller.keys["user"]}, headers=headers)
            assert reply.status_code == 303
            assert ("Secure" in reply.headers["Set-Cookie"]) == (proto == "https" and named != "")


def test_whatever_is_said_breaks_nothing(controller: RunningController) -> None:
    with controller.http("user") as http:
        for said in HOSTILE:
            assert http.get("/", headers={"X-Forwarded-For": said, "X-Forwarded-Proto": said}).status_code == 200, said
