"""Requests to a controller for asyncio, repeated where they may be; `paploss.client.sync_session` is the same without.

Knows HTTP and pages, and no model: what needs a few fields of a list is spared the import of all of them.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self
from urllib.parse import quote

import httpx

from paploss.backoff import Backoff
from paploss.client.errors import ApiError, ClientError, UnreachableError, is_passing, pause_after
from paploss.client.transport import Route

TIMEOUT = httpx.Timeout(30, connect=5)
PAGE = 200
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0


class AsyncSession:
    """Connections to one controller. Safe to share between tasks.

    Every method raises ApiError where the controller refuses, and UnreachableError where it does not answer.
    """

    def __init__(self, url: str, key: str, *, attempts: int = ATTEMPTS) -> None:
        """`url`: of the controller, without a path; `attempts`: how often a request is tried at most."""
        self._route = Route(url)
        self.url = self._route.url
        self._attempts = attempts
        self._http = httpx.AsyncClient(**self._route.options("/api/v1/", key), timeout=TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request that may be repeated, as often as is needed and allowed."""
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        for left in reversed(range(self._attempts)):
            try:
                return await self.send_once(method, path, **request)
            except ClientError as error:
                if left == 0 or not is_passing(error):
                    raise
                await asyncio.sleep(pause_after(error, backoff.next_seconds()))
        raise ValueError(f"attempts: expected at least 1, got {self._attempts}")

    async def send_once(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request that may not be repeated."""
        if not {"", ".", ".."}.isdisjoint(path.split("/")):  # an id that was typed: another place would be asked
            raise ApiError(404, "Not Found", f"there is nothing at /api/v1/{path}", {})
        try:
            # Quoted, because ids are what people typed: `?` and `#` would cut a path short.
            return self._route.check(await self._http.request(method, quote(path), **request))
        except httpx.RequestError as error:  # of the transport, or of an encoding that a proxy has corrupted
            raise UnreachableError(f"no controller answers at {self.url}: {self._route.explain(error)}") from error

    async def items(self, path: str, **params: Any) -> AsyncIterator[dict[str, Any]]:
        """The items of a list as they came, over all its pages."""
        asked = {name: value for name, value in params.items() if value is not None} | {"limit": PAGE}
        while True:
            response = await self.send("GET", path, params=asked)
            try:
                page = response.json()
                items, cursor = page["items"], page.get("next_cursor")
            except (ValueError, KeyError, TypeError, AttributeError):
                raise UnreachableError(f"what answers at {response.url} is not a controller") from None
            for item in items:
                yield item
            if cursor is None:
                return
            asked["cursor"] = cursor
