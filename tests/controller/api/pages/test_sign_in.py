"""Signing in to the page, and what a browser's cookie is good for."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from controllers import RunningController, session_name

from paploss.controller.store.access.sign_ins import create_code


@pytest.fixture
def browser(controller: RunningController) -> Iterator[httpx.Client]:
    """A client that keeps cookies and sends the Origin header of the controller's own pages."""
    with controller.http() as http:
        http.headers["Origin"] = controller.url
        yield http


def sign_in(browser: httpx.Client, key: str, **fields: str) -> httpx.Response:
    return browser.post("/sign-in", data={"key": key} | fields)


def test_a_key_opens_a_session(controller: RunningController, browser: httpx.Client) -> None:
    assert browser.get("/", headers={"Accept": "text/html"}).status_code == 303
    reply = sign_in(browser, controller.keys["viewer"])
    assert (reply.status_code, reply.headers["Location"]) == (303, "/")
    cookie = reply.headers["Set-Cookie"]
    for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age="):
        assert part in cookie
    assert controller.keys["viewer"] not in cookie
    assert browser.get("/").status_code == 200
    assert browser.get("/api/v1/experiments").status_code == 200


def test_behind_a_proxy_with_tls_the_cookie_is_for_https_alone(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, redis_url: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1")
    with RunningController(sqlite_url, redis_url, tmp_path) as controller, controller.http() as browser:
        browser.headers["Origin"] = controller.url
        assert "Secure" not in sign_in(browser, controller.keys["viewer"]).headers["Set-Cookie"]
        browser.headers.update({"X-Forwarded-Proto": "https", "Origin": controller.url.replace("http:", "https:")})
        assert "Secure" in sign_in(browser, controller.keys["viewer"]).headers["Set-Cookie"]


def test_who_is_not_signed_in_is_sent_to_the_form_and_then_back(
    controller: RunningController, browser: httpx.Client
) -> None:
    reply = browser.get("/workers?cursor=w", headers={"Accept": "text/html"})
    assert reply.headers["Location"] == "/sign-in?next=/workers%3Fcursor%3Dw"
    form = browser.get(reply.headers["Location"])
    assert 'name="next" value="/workers?cursor=w"' in form.text
    reply = sign_in(browser, controller.keys["viewer"], next="/workers?cursor=w")
    assert reply.headers["Location"] == "/workers?cursor=w"


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x"])
def test_signing_in_leads_nowhere_else(controller: RunningController, browser: httpx.Client, target: str) -> None:
    assert sign_in(browser, controller.keys["viewer"], next=target).headers["Location"] == "/"


def test_a_wrong_key_and_a_workers_key_open_nothing(controller: RunningController, browser: httpx.Client) -> None:
    for key, status in (("paploss_wrong", 401), ("", 401), (controller.keys["worker"], 403)):
        reply = sign_in(browser, key)
        assert reply.status_code == status
        assert "Set-Cookie" not in reply.headers
        assert 'role="alert"' in reply.text


def test_a_code_opens_one_session_with_its_keys_role(controller: RunningController, browser: httpx.Client) -> None:
    with controller.services.database.write() as session:
        code = create_code(session, "viewer")
    assert browser.post("/sign-in", data={"code": code}).status_code == 303
    assert browser.get("/").status_code == 200
    assert browser.post("/api/v1/experiments", json={"kind": "search", "profile": "synthetic"}).status_code == 403
    browser.cookies.clear()
    again = browser.post("/sign-in", data={"code": code})
    assert again.status_code == 401
    assert "was used" in again.text


def test_a_code_is_no_session_and_a_session_no_code(controller: RunningController, browser: httpx.Client) -> None:
    with controller.services.database.write() as session:
        code = create_code(session, "admin")
    cookie = f"{session_name(browser)}={code}"
    assert browser.get("/api/v1/status", headers={"Cookie": cookie}).status_code == 401
    sign_in(browser, controller.keys["admin"])
    secret = browser.cookies[session_name(browser)]
    browser.cookies.clear()
    assert browser.post("/sign-in", data={"code": secret}).status_code == 401


def test_a_code_that_is_too_old_opens_nothing(controller: RunningController, browser: httpx.Client) -> None:
    with controller.services.database.write() as session:
        code = create_code(session, "admin", seconds=-1)
    assert browser.post("/sign-in", data={"code": code}).status_code == 401


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[", None])
def test_another_sites_page_changes_nothing(
    controller: RunningController, browser: httpx.Client, origin: str | None
) -> None:
    sign_in(browser, controller.keys["admin"])
    browser.headers.pop("Origin")
    headers = {} if origin is None else {"Origin": origin}
    reply = browser.post("/api/v1/experiments", json={"kind": "search", "profile": "synthetic"}, headers=headers)
    assert reply.status_code == 403
    assert "Origin" in reply.json()["detail"]
    assert browser.post("/sign-out", headers=headers).status_code == 403
    assert browser.post("/sign-in", data={"key": controller.keys["viewer"]}, headers=headers).status_code == 403
    assert browser.get("/api/v1/experiments").json()["items"] == []


def test_two_controllers_on_one_machine_keep_a_browser_signed_in(
    controller: RunningController, browser: httpx.Client, redis_url: str, tmp_path: Path
) -> None:
    with RunningController(f"sqlite:///{tmp_path / 'other.db'}", redis_url, tmp_path) as other:
        sign_in(browser, controller.keys["viewer"])
        reply = browser.post(f"{other.url}/sign-in", data={"key": other.keys["viewer"]}, headers={"Origin": other.url})
        assert reply.status_code == 303
        assert browser.get(f"{other.url}/api/v1/status").status_code == 200
        assert browser.get("/api/v1/status").status_code == 200


def test_the_page_itself_may_change_things(controller: RunningController, browser: httpx.Client) -> None:
    sign_in(browser, controller.keys["user"])
    assert browser.post("/api/v1/experiments", json={"kind": "search", "profile": "synthetic"}).status_code == 201


def test_signing_out_ends_the_session_at_the_server(controller: RunningController, browser: httpx.Client) -> None:
    sign_in(browser, controller.keys["viewer"])
    secret = browser.cookies[session_name(browser)]
    assert browser.post("/sign-out").headers["Location"] == "/sign-in"
    assert session_name(browser) not in browser.cookies
    cookie = f"{session_name(browser)}={secret}"
    assert browser.get("/api/v1/status", headers={"Cookie": cookie}).status_code == 401


def test_a_session_ends_with_its_key(controller: RunningController, browser: httpx.Client) -> None:
    sign_in(browser, controller.keys["viewer"])
    assert browser.get("/api/v1/status").status_code == 200
    with controller.client("admin") as admin:
        admin.revoke_key("viewer")
    assert browser.get("/api/v1/status").status_code == 401
