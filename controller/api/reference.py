"""The OpenAPI document, completed with what holds for every operation: keys, roles and errors."""

from typing import Any

from fastapi import FastAPI

from paploss.controller.api.problems import Problem, documented
from paploss.controller.api.security.access import OPEN, ROLES, UNCOUNTED

_SCHEME = {"type": "http", "scheme": "bearer", "description": "An API key, made with `paploss keys create`."}
_REF = "#/components/schemas/{model}"


class DescribedApp(FastAPI):
    """FastAPI with the completed OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """The document; made once."""
        if self.openapi_schema is None:
            self.openapi_schema = _complete(super().openapi())
        return self.openapi_schema


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = Problem.model_json_schema(ref_template=_REF)
    schemas |= problem.pop("$defs")
    schemas["Problem"] = problem
    components["securitySchemes"] = {"key": _SCHEME}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete_operation(f"{method.upper()} {path}", operation)
    return document


def _complete_operation(name: str, operation: dict[str, Any]) -> None:
    description = operation.get("description", "")
    operation["summary"] = " ".join(description.partition(". ")[0].rstrip(".").split())
    statuses = [400, 413, 422, 500, 503]
    if name not in UNCOUNTED:
        statuses += [429]
    if name not in OPEN:
        statuses += [401, 403]
        roles = ", ".join(sorted(ROLES[name]))
        operation["security"] = [{"key": []}]
        operation["description"] = f"{description}\n\nRoles: {roles}.".strip()
    common = {str(status): content for status, content in documented(*statuses).items()}
    specific = {status: content for status, content in operation["responses"].items() if status != "422"}
    operation["responses"] = dict(sorted((common | specific).items()))
