"""The Host check, the limit on a request's size, and the security headers."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from controllers import RunningController

from paploss.controller.api.security.requests import default_hosts


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example"])
def test_a_request_for_another_host_is_refused(controller: RunningController, host: str) -> None:
    reply = httpx.get(f"{controller.url}/sign-in", headers={"Host": host})
    assert reply.status_code == 400
    assert "Host" in reply.json()["detail"]
    assert reply.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9999", "127.0.0.1", "[::1]:8080"])
def test_the_loopback_has_its_names(controller: RunningController, host: str) -> None:
    assert httpx.get(f"{controller.url}/sign-in", headers={"Host": host}).status_code == 200


def test_probes_come_by_any_address(controller: RunningController) -> None:
    assert httpx.get(f"{controller.url}/healthz", headers={"Host": "10.0.3.7:8080"}).status_code == 200


def test_names_that_a_controller_answers_to() -> None:
    assert "localhost" in default_hosts("127.0.0.1")
    assert "localhost" in default_hosts("localhost")
    assert default_hosts("0.0.0.0") == ()  # noqa: S104 (not bound)


def test_configured_names_replace_the_loopbacks(sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    with RunningController(sqlite_url, redis_url, tmp_path, allowed_hosts="search.example") as controller:
        assert httpx.get(f"{controller.url}/sign-in").status_code == 400
        assert httpx.get(f"{controller.url}/sign-in", headers={"Host": "search.example"}).status_code == 200


def test_a_large_request_is_refused_announced_or_not(controller: RunningController, http: httpx.Client) -> None:
    limit = controller.services.settings.max_body_bytes
    json_type = {"Content-Type": "application/json"}

    def in_parts() -> Iterator[bytes]:
        for _ in range(limit // 1000 + 1):
            yield b" " * 1000

    for content in (b" " * (limit + 1), in_parts()):
        reply = http.post("/api/v1/experiments", content=content, headers=json_type)
        assert reply.status_code == 413
        assert str(limit) in reply.json()["detail"]
    assert http.get("/api/v1/experiments").json()["items"] == []


@pytest.mark.parametrize("path", ["/sign-in", "/api/v1/experiments", "/api/v1/nothing", "/healthz", "/static/page.css"])
def test_every_response_has_the_security_headers(controller: RunningController, path: str) -> None:
    headers = httpx.get(controller.url + path).headers
    policy = headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Cache-Control" in headers


def test_files_may_be_kept_and_answers_may_not(http: httpx.Client) -> None:
    assert "immutable" in http.get("/static/plotly.min.js").headers["Cache-Control"]
    assert http.get("/api/v1/experiments").headers["Cache-Control"] == "no-store"


def test_files_travel_compressed_where_the_browser_can(http: httpx.Client) -> None:
    small = http.get("/static/plotly.min.js", headers={"Accept-Encoding": "gzip"})
    large = http.get("/static/plotly.min.js", headers={"Accept-Encoding": "identity"})
    assert small.content == large.content
    assert int(small.headers["Content-Length"]) * 3 < int(large.headers["Content-Length"])
