"""Who may do what, over every route of the application and every role."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from controllers import ROLES, RunningController
from sqlalchemy import event
from stack import wait_until

from paploss.client.states import Role
from paploss.controller.api.app import list_operations
from paploss.controller.api.security.access import OPEN, AuthorizedRoute
from paploss.controller.api.security.access import ROLES as ROLES_OF
from paploss.controller.store.access.keys import create_key, revoke_key

ALL_OPERATIONS = list_operations()
OPERATIONS = [operation for operation in ALL_OPERATIONS if operation != "POST /sign-in"]
"""Signing in refuses what does not come from its own page, whoever asks; see test_sign_in."""


def ask(http: httpx.Client, operation: str) -> httpx.Response:
    """The operation on things that do not exist, so that whoever is let in changes nothing."""
    method, path = operation.split(" ")
    path = path.replace("/figures/{name}", "/figures/functions")
    return http.request(method, re.sub(r"\{\w+\}", "0nothing", path))


def test_every_route_has_declared_roles_and_no_role_is_left_over(controller: RunningController) -> None:
    served = {f"{method} {route.path}" for route in controller.app.routes for method in getattr(route, "methods", ())}
    assert set(ALL_OPERATIONS) | {"GET /openapi.json"} == set(ROLES_OF) | OPEN
    assert served - {"HEAD /openapi.json"} <= set(ROLES_OF) | OPEN


def test_a_route_without_declared_roles_is_closed_to_everyone(controller: RunningController) -> None:
    route = AuthorizedRoute("/api/v1/forgotten", lambda: None)
    controller.app.router.routes.append(route)
    with controller.http("admin") as http:
        assert http.get("/api/v1/forgotten").status_code == 403


@pytest.mark.parametrize("role", ROLES)
def test_a_key_opens_what_its_role_may_and_nothing_else(controller: RunningController, role: Role) -> None:
    with controller.http(role) as http:
        for operation in OPERATIONS:
            status = ask(http, operation).status_code
            allowed = operation in OPEN or role in ROLES_OF[operation]
            assert (status not in {401, 403}) if allowed else (status == 403), (operation, status)


def test_without_a_key_only_open_routes_answer(controller: RunningController) -> None:
    with controller.http() as http:
        for operation in OPERATIONS:
            reply = ask(http, operation)
            assert (reply.status_code == 401) == (operation not in OPEN), operation
            if operation not in OPEN:
                assert reply.headers["WWW-Authenticate"] == "Bearer"


def test_whoever_may_not_ask_is_refused_before_the_body_is_read(controller: RunningController) -> None:
    changing = [operation for operation in OPERATIONS if operation.startswith("POST")]
    assert len(changing) > 10
    for role, status in ((None, 401), ("viewer", 403), ("worker", 403)):
        with controller.http(role) as http:
            for operation in changing:
                if operation in OPEN or (role is not None and role in ROLES_OF[operation]):
                    continue
                reply = http.post(re.sub(r"\{\w+\}", "0nothing", operation.split(" ")[1]), content=b"{")
                assert reply.status_code == status, (operation, role)


def test_guesses_are_counted_whatever_their_body(sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    with RunningController(sqlite_url, redis_url, tmp_path, anonymous_requests_per_second=0.5) as controller:
        with controller.http() as http:
            statuses = {http.post("/api/v1/experiments", content=b"{").status_code for _ in range(8)}
        assert statuses == {401, 429}


def test_guesses_at_once_cost_the_database_one_look(controller: RunningController) -> None:
    asked: list[str] = []

    def note(*arguments: Any) -> None:
        if arguments[2].startswith("SELECT api_keys.digest"):  # the first statement of a look
            asked.append(arguments[2])

    def guess(number: int) -> int:
        headers = {"Authorization": f"Bearer guess-{number}"}
        return httpx.get(f"{controller.url}/api/v1/experiments", headers=headers).status_code

    event.listen(controller.services.database.engine, "before_cursor_execute", note)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(guess, range(40))) == {401}
    # Each of the eight waits at most once for the next look; the machine may be slow, so thirty looks are few enough.
    assert len(asked) <= 30


def test_a_new_key_is_good_at_once_whoever_guessed_before(controller: RunningController) -> None:
    with controller.http() as http:
        for number in range(3):
            assert (
                http.get("/api/v1/experiments", headers={"Authorization": f"Bearer guess-{number}"}).status_code == 401
            )
            with controller.services.database.write() as session:  # as another replica would
                key = create_key(session, f"key-{number}", "viewer")
            assert http.get("/api/v1/experiments", headers={"Authorization": f"Bearer {key}"}).status_code == 200


@pytest.mark.parametrize("header", ["Bearer paploss_wrong", "Bearer", "Basic dXNlcjpwdw==", "Bearer \xff", ""])
def test_a_wrong_key_is_refused(controller: RunningController, header: str) -> None:
    reply = httpx.get(f"{controller.url}/api/v1/experiments", headers={"Authorization": header.encode("latin-1")})
    assert reply.status_code == 401
    assert reply.headers["Content-Type"] == "application/problem+json"


def test_a_workers_key_opens_the_lease_protocol_alone() -> None:
    opened = {operation for operation in ROLES_OF if "worker" in ROLES_OF[operation]}
    assert opened == {f"POST /api/v1/leases/{step}" for step in ("claim", "renew", "result", "release", "files")}


def test_administrators_alone_delete_and_let_others_in_and_viewers_change_only_their_own_tokens() -> None:
    """Said once more, beside the table that the other tests take for right."""
    opened = {role: {operation for operation in ROLES_OF if role in ROLES_OF[operation]} for role in ROLES}
    assert opened["viewer"] < opened["user"] < opened["admin"]
    assert opened["admin"] - opened["user"] == {
        "DELETE /api/v1/experiments/{experiment_id}",
        *("GET /api/v1/experiments/{experiment_id}/dump", "POST /api/v1/experiments/load"),
        *("POST /api/v1/keys", "GET /api/v1/keys", "DELETE /api/v1/keys/{name}"),
        *("POST /api/v1/projects", "PUT /api/v1/projects/{name}", "DELETE /api/v1/projects/{name}", "POST /projects"),
    }
    assert {operation for operation in opened["viewer"] if not operation.startswith("GET ")} == {
        *("POST /api/v1/tokens", "DELETE /api/v1/tokens/{token_id}", "POST /tokens", "POST /sign-out"),
    }


def test_a_revoked_key_is_refused_at_once(controller: RunningController) -> None:
    with controller.http("viewer") as http:
        assert http.get("/api/v1/experiments").status_code == 200
        with controller.client("admin") as admin:
            admin.revoke_key("viewer")
        assert http.get("/api/v1/experiments").status_code == 401


def test_a_key_that_was_revoked_elsewhere_is_refused_soon(controller: RunningController) -> None:
    with controller.http("viewer") as http:
        assert http.get("/api/v1/experiments").status_code == 200
        with controller.services.database.write() as session:
            revoke_key(session, "viewer")
        wait_until(lambda: http.get("/api/v1/experiments").status_code == 401, "the key to be refused")


def test_keys_are_made_listed_and_revoked_over_http(controller: RunningController) -> None:
    with controller.client("admin") as admin:
        made = admin.create_key("lab", "viewer")
        assert made.key.startswith("paploss_")
        listed = {key.name: key for key in admin.list_keys()}
        assert listed["lab"].role == "viewer"
        assert "key" not in type(listed["lab"]).model_fields
        headers = {"Authorization": f"Bearer {made.key}"}
        assert httpx.get(f"{controller.url}/api/v1/experiments", headers=headers).status_code == 200
        admin.revoke_key("lab")
        assert httpx.get(f"{controller.url}/api/v1/experiments", headers=headers).status_code == 401
