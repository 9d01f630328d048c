"""What tests of the HTTP API ask with, beside a user's client."""

from collections.abc import Iterator

import httpx
import pytest
from controllers import RunningController


@pytest.fixture
def lease_http(controller: RunningController) -> Iterator[httpx.Client]:
    """Plain HTTP with the key of a worker."""
    with controller.http("worker") as http:
        yield http
