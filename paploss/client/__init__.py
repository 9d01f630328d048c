"""The client of a controller: what is asked, what is answered, and the two clients, over httpx and pydantic alone.

from paploss.client import Client, SearchSpec

with Client("http://127.0.0.1:8080", key) as client:
    search = client.create(SearchSpec(profile="retinanet-tiny"))
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paploss.client.async_client import AsyncClient
    from paploss.client.errors import ApiError, ClientError, UnreachableError
    from paploss.client.specs import ComparisonSpec, SearchSpec, TrainingSpec
    from paploss.client.sync_client import Client

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "ClientError",
    "ComparisonSpec",
    "SearchSpec",
    "TrainingSpec",
    "UnreachableError",
]

_HOMES = {
    "ApiError": "errors",
    "AsyncClient": "async_client",
    "Client": "sync_client",
    "ClientError": "errors",
    "ComparisonSpec": "specs",
    "SearchSpec": "specs",
    "TrainingSpec": "specs",
    "UnreachableError": "errors",
}


def __getattr__(name: str) -> object:
    # On demand: a program that needs the models alone, such as the controller, loads no HTTP client.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
