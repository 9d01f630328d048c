"""The way to a controller over HTTP, for both clients and for the workers: TLS, proxies, and what answers mean."""

import ssl
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import httpx

from paploss.client.errors import ApiError, UnreachableError
from paploss.client.proxies import ProxyChoice, find_proxy

_PROBLEM = "application/problem+json"


class Route:
    """How the controller at one address is reached."""

    def __init__(self, url: str) -> None:
        """`url`: of the controller, without a path.

        Raises:
            UnreachableError: it is no address, or the environment names a proxy for it that cannot be used.
        """
        self.url = url.rstrip("/")
        try:
            parts = httpx.URL(self.url)
            if parts.scheme not in ("http", "https") or not parts.host:
                raise ValueError(f"no {'host' if parts.scheme else 'http://'} in it")
            self._proxy = find_proxy(self.url)
        except (httpx.InvalidURL, ValueError) as error:
            raise UnreachableError(f"{url}: expected an address such as http://HOST:8080 ({error})") from None

    def options(self, path: str, key: str | None = None) -> dict[str, Any]:
        """Arguments of `httpx.Client` and `httpx.AsyncClient`.

        Raises:
            UnreachableError: the environment names a proxy for the address that cannot be used.
        """
        # The environment is read here and in `find_proxy`: httpx would misread its proxies.
        options: dict[str, Any] = {"base_url": f"{self.url}{path}", "trust_env": False}
        if key is not None:
            if not key.isascii() or not key.isprintable():
                raise UnreachableError("API key: expected printable ASCII characters alone")
            options["headers"] = {"Authorization": f"Bearer {key}"}
        if self.url.startswith("https:") or (self._proxy and self._proxy.url.startswith("https:")):
            options["verify"] = httpx.create_ssl_context()
        else:
            # Without certificates no TLS connection would be trusted: none is made, and loading them takes 20 ms.
            options["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._proxy is not None:
            options["proxy"] = self._make_proxy(self._proxy, options["verify"])
        return options

    def _make_proxy(self, choice: ProxyChoice, context: ssl.SSLContext) -> httpx.Proxy:
        try:
            if not urlsplit(choice.url).hostname:
                raise ValueError("no host in it")
            proxy = httpx.Proxy(choice.url, ssl_context=context if choice.url.startswith("https:") else None)
        except (httpx.InvalidURL, ValueError) as error:
            raise UnreachableError(f"{choice.variable}: not a proxy's address: {error}") from None
        if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
            raise UnreachableError(
                f"the proxy {choice} for {self.url} needs another package: pip install 'httpx[socks]'"
            )
        return proxy

    def explain(self, error: httpx.RequestError) -> str:
        """Why no answer came, with the proxy that was asked where one was."""
        reason = str(error) or type(error).__name__
        return f"{reason}{self.by_proxy}"

    @property
    def by_proxy(self) -> str:
        """What to add to any message about an answer; empty where the way is direct."""
        return "" if self._proxy is None else f" (through the proxy {self._proxy})"

    def check(self, response: httpx.Response) -> httpx.Response:
        """The response, if it is a success.

        Raises:
            ApiError: it is a refusal.
        """
        if response.is_success:
            return response
        retry_after = response.headers.get("Retry-After", "")
        retry_seconds = float(retry_after) if retry_after.isdigit() else None
        problem = read_problem(response)
        if problem is None:  # a page of something in between, not a controller's answer
            detail = f"{response.status_code} {response.reason_phrase} from {response.url}{self.by_proxy}"
            raise ApiError(response.status_code, response.reason_phrase, detail, {}, retry_seconds)
        try:
            fields = {fault["pointer"]: fault["message"] for fault in problem.get("errors", ())}
        except (KeyError, TypeError):
            fields = {}
        title = str(problem.get("title", response.reason_phrase))
        raise ApiError(response.status_code, title, str(problem.get("detail", "")), fields, retry_seconds)


def read_problem(response: httpx.Response) -> Mapping[str, Any] | None:
    """A controller's own problem document (RFC 9457); none where anything else answered, a proxy for instance."""
    if not response.headers.get("Content-Type", "").startswith(_PROBLEM):
        return None
    try:
        problem = response.json()
    except ValueError:
        return None
    return problem if isinstance(problem, dict) else None
