"""Whatever comes in an address or a header is bounded too, of the API and of the pages."""

from typing import Annotated, Any

import pytest
from bounds import unbounded
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from paploss.controller.api.app import ROUTERS

ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


def parameters(dependant: Dependant) -> list[Any]:
    its_own = (dependant.path_params, dependant.query_params, dependant.header_params, dependant.cookie_params)
    return [*(each for kind in its_own for each in kind), *(p for d in dependant.dependencies for p in parameters(d))]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
def test_every_parameter_is_bounded(route: APIRoute) -> None:
    for parameter in parameters(route.dependant):
        schema = TypeAdapter(Annotated[parameter.field_info.annotation, parameter.field_info]).json_schema()
        assert list(unbounded(schema)) == [], parameter.name


def test_the_routes_have_parameters() -> None:
    assert sum(len(parameters(route.dependant)) for route in ROUTES) > 50
