"""Personal access tokens, by every way that there is to them."""

import re

import httpx
import pytest
from controllers import RunningController
from stack import wait_until

from paploss.client.errors import ApiError
from paploss.client.notifications import SubscriptionRequest
from paploss.client.sync_client import Client
from paploss.controller.api.security.access import NOT_WITH_TOKENS
from paploss.controller.api.security.access import ROLES as ROLES_OF
from paploss.controller.store.access.tokens import create_token


def test_a_token_is_made_used_listed_and_revoked(controller: RunningController) -> None:
    with controller.client("user") as user:
        made = user.create_token("laptop", "user", days=7)
        assert (made.owner, made.role, (made.expires_at - made.created_at).total_seconds()) == (
            "user",
            "user",
            pytest.approx(7 * 86400),
        )
        assert [token.id for token in user.list_tokens()] == [made.id]
        with Client(controller.url, made.token) as program:
            assert program.status().workers_live == 0
            assert [token.name for token in program.list_tokens()] == ["laptop"]
        user.revoke_token(made.id)
        assert user.list_tokens() == []
        with Client(controller.url, made.token) as program, pytest.raises(ApiError, match="valid API key"):
            program.status()


def test_what_a_token_starts_belongs_to_its_owner(controller: RunningController) -> None:
    with controller.client("user") as user:
        token = user.create_token("laptop", "user").token
    with httpx.Client(base_url=controller.url, headers={"Authorization": f"Bearer {token}"}) as program:
        reply = program.post("/api/v1/experiments", json={"kind": "search", "profile": "synthetic"})
    assert (reply.status_code, reply.json()["owner"]) == (201, "user")


def test_a_token_may_do_what_its_role_may_and_no_more(controller: RunningController) -> None:
    with controller.client("admin") as admin:
        token = admin.create_token("dashboard", "viewer").token
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=controller.url, headers=headers, timeout=30) as program:
        for operation, roles in ROLES_OF.items():
            method, path = operation.split(" ")
            path = re.sub(r"\{\w+\}", "0nothing", path.replace("/figures/{name}", "/figures/functions"))
            allowed = "viewer" in roles and operation not in NOT_WITH_TOKENS
            if operation == "DELETE /api/v1/tokens/{token_id}":  # of others: see below
                continue
            status = program.request(method, path).status_code
            assert (status not in {401, 403}) if allowed else (status == 403), (operation, status)


def test_nothing_that_a_token_makes_outlives_it(controller: RunningController) -> None:
    with controller.client("admin") as admin:
        token = admin.create_token("robot", "admin").token
    with Client(controller.url, token) as robot:
        for make in (
            lambda: robot.create_token("second"),
            lambda: robot.create_key("forever", "admin"),
            lambda: robot.subscribe(SubscriptionRequest(target="https://example.org/hook")),
        ):
            with pytest.raises(ApiError, match="not a token") as refused:
                make()
            assert refused.value.status == 403
    with controller.http() as browser:
        browser.headers["Origin"] = controller.url
        reply = browser.post("/sign-in", data={"key": token})
        assert (reply.status_code, "for programs" in reply.text) == (401, True)
        assert "Set-Cookie" not in reply.headers


def test_a_token_ends_itself_and_no_other(controller: RunningController) -> None:
    with controller.client("user") as user:
        first, second = user.create_token("first", "viewer"), user.create_token("second", "user")
        with Client(controller.url, first.token) as program:
            with pytest.raises(ApiError, match="itself and no other"):
                program.revoke_token(second.id)
            program.revoke_token(first.id)
        assert [token.name for token in user.list_tokens()] == ["second"]


def test_tokens_of_others_are_for_administrators(controller: RunningController) -> None:
    with controller.client("user") as user, controller.client("viewer") as viewer, controller.client("admin") as admin:
        made = user.create_token("laptop", "user")
        assert viewer.list_tokens() == []
        with pytest.raises(ApiError, match="expected an administrator"):
            viewer.list_tokens(everyone=True)
        with pytest.raises(ApiError, match="no token") as refused:
            viewer.revoke_token(made.id)
        assert refused.value.status == 404
        assert [token.owner for token in admin.list_tokens(everyone=True)] == ["user"]
        admin.revoke_token(made.id)
        assert user.list_tokens() == []


def test_more_than_ones_own_role_is_refused(controller: RunningController) -> None:
    with (
        controller.client("viewer") as viewer,
        pytest.raises(ApiError, match="role: expected at most viewer") as refused,
    ):
        viewer.create_token("laptop", "user")
    assert refused.value.status == 403


def test_a_token_that_expires_while_it_is_remembered_is_refused_soon(controller: RunningController) -> None:
    with controller.services.database.write() as session:
        token = create_token(session, "viewer", "short", "viewer", seconds=1.5)[1]
    with httpx.Client(base_url=controller.url, headers={"Authorization": f"Bearer {token}"}) as program:
        assert program.get("/api/v1/status").status_code == 200
        wait_until(lambda: program.get("/api/v1/status").status_code == 401, "the token to be refused")


def test_the_page_shows_a_new_token_once(controller: RunningController) -> None:
    with controller.http() as browser:
        browser.headers["Origin"] = controller.url
        browser.post("/sign-in", data={"key": controller.keys["user"]})
        reply = browser.post("/tokens", data={"name": "laptop", "role": "user", "days": "30"})
        assert reply.status_code == 201
        assert reply.headers["Cache-Control"] == "no-store"
        [token] = re.findall(r"paploss_token_[\w-]+", reply.text)
        with Client(controller.url, token) as program:
            assert [each.name for each in program.list_tokens()] == ["laptop"]
        again = browser.get("/tokens").text
        assert "laptop" in again
        assert token not in again
        assert browser.delete(f"/api/v1/tokens/{program_id(controller)}").status_code == 204
        assert "There is none." in browser.get("/tokens").text


def program_id(controller: RunningController) -> str:
    with controller.client("user") as user:
        return user.list_tokens()[0].id


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({"name": "", "role": "viewer", "days": "30"}, 422, 'id="name-error"'),
        ({"name": "a", "role": "viewer", "days": "soon"}, 422, 'id="days-error"'),
        ({"name": "a", "role": "viewer", "days": "9999"}, 422, 'id="days-error"'),
        ({"name": "a", "role": "worker", "days": "30"}, 422, 'id="role-error"'),
        ({"name": "a", "role": "admin", "days": "30"}, 403, "expected at most user"),
    ],
)
def test_the_form_says_what_is_wrong(
    controller: RunningController, fields: dict[str, str], status: int, told: str
) -> None:
    with controller.http("user") as http:
        reply = http.post("/tokens", data=fields)
    assert reply.status_code == status
    assert told in reply.text
