"""Who may do what, over every route of the application and every role."""

import re

import httpx
import pytest
from controllers import ROLES, RunningController
from fastapi.routing import APIRoute
from stack import wait_until

from controller.api.access import OPEN
from controller.api.access import ROLES as ROLES_OF
from controller.api.app import list_operations
from controller.store.keys import revoke_key
from controller.store.models import Role

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
    route = APIRoute("/api/v1/forgotten", lambda: None, dependencies=controller.app.router.dependencies)
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


@pytest.mark.parametrize("header", ["Bearer paploss_wrong", "Bearer", "Basic dXNlcjpwdw==", "Bearer \xff", ""])
def test_a_wrong_key_is_refused(controller: RunningController, header: str) -> None:
    reply = httpx.get(f"{controller.url}/api/v1/searches", headers={"Authorization": header.encode("latin-1")})
    assert reply.status_code == 401
    assert reply.headers["Content-Type"] == "application/problem+json"


def test_a_workers_key_opens_the_lease_protocol_alone() -> None:
    opened = {operation for operation in ROLES_OF if "worker" in ROLES_OF[operation]}
    assert opened == {f"POST /api/v1/leases/{step}" for step in ("claim", "renew", "result", "release", "files")}


def test_a_revoked_key_is_refused_at_once(controller: RunningController) -> None:
    with controller.http("viewer") as http:
        assert http.get("/api/v1/searches").status_code == 200
        with controller.client("admin") as admin:
            admin.revoke_key("viewer")
        assert http.get("/api/v1/searches").status_code == 401


def test_a_key_that_was_revoked_elsewhere_is_refused_soon(controller: RunningController) -> None:
    with controller.http("viewer") as http:
        assert http.get("/api/v1/searches").status_code == 200
        with controller.services.database.write() as session:
            revoke_key(session, "viewer")
        wait_until(lambda: http.get("/api/v1/searches").status_code == 401, "the key to be refused")


def test_keys_are_made_listed_and_revoked_over_http(controller: RunningController) -> None:
    with controller.client("admin") as admin:
        made = admin.create_key("lab", "viewer")
        assert made.key.startswith("paploss_")
        listed = {key.name: key for key in admin.list_keys()}
        assert listed["lab"].role == "viewer"
        assert "key" not in type(listed["lab"]).model_fields
        headers = {"Authorization": f"Bearer {made.key}"}
        assert httpx.get(f"{controller.url}/api/v1/searches", headers=headers).status_code == 200
        admin.revoke_key("lab")
        assert httpx.get(f"{controller.url}/api/v1/searches", headers=headers).status_code == 401
