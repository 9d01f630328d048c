"""The OpenAPI document tells what the application does."""

from typing import Any

import httpx
import pytest
from controllers import RunningController

from paploss.controller.api.app import list_operations
from paploss.controller.api.security.access import OPEN, ROLES


@pytest.fixture
def document(controller: RunningController) -> dict[str, Any]:
    with controller.http() as http:
        found: dict[str, Any] = http.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_operation_of_the_interface_is_described(document: dict[str, Any]) -> None:
    described = set(operations(document))
    assert described == {name for name in list_operations() if "/api/" in name or name.endswith("z")}


def test_every_operation_says_how_it_can_fail_and_for_whom_it_is(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        expected = {"400", "413", "422", "500", "503"} | (set() if name in OPEN else {"401", "403", "429"})
        assert set(operation["responses"]) >= expected, name
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                schema = response["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}, name
        assert ("security" in operation) == (name in ROLES)


def test_operations_have_distinct_names_and_descriptions(document: dict[str, Any]) -> None:
    described = operations(document)
    assert len({operation["operationId"] for operation in described.values()}) == len(described)
    assert all(operation["description"] for operation in described.values())


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return own.union(*(references(value) for value in part.values()))
        return set().union(*(references(value) for value in part)) if isinstance(part, list) else set()

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known


def test_the_reference_page_needs_nothing_from_elsewhere(controller: RunningController) -> None:
    with controller.http() as http:
        page = http.get("/docs").text
        assert "//" not in page.replace("<!doctype html>", "")
        for address in (part.split('"')[0] for part in page.split('src="')[1:]):
            assert http.get(address).status_code == 200


def test_an_unknown_file_is_not_found(http: httpx.Client) -> None:
    for name in ("nothing.js", "..%2Frender.py", "../render.py"):
        assert http.get(f"/static/{name}").status_code == 404
