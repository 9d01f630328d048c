"""Checks of every request: the Host header and the size of the body; the security headers of every response; and the
answer where a handler fails."""

import ipaddress
from collections.abc import Mapping, Sequence

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paploss.controller.api import problems

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")

# Plotly and Swagger UI set inline styles; scripts come from this origin only, and nothing is inline.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_DEFAULTS = [
    (name.lower().encode(), value.encode())
    for name, value in (SECURITY_HEADERS | {"Cache-Control": "no-store"}).items()
]

PROBES = ("/healthz", "/readyz")
"""A kubelet asks these by the pod's address, which is not known in advance; they reveal nothing."""


class RequestChecks:
    """ASGI middleware that checks every request and adds the security headers to every response.

    The Host check keeps other sites' pages from reaching a controller on the loopback by a name of theirs that
    resolves to it (DNS rebinding).
    """

    def __init__(
        self, app: ASGIApp, *, allowed_hosts: Sequence[str], max_body_bytes: int, larger_bodies: Mapping[str, int]
    ) -> None:
        """`allowed_hosts`: names without port; empty allows any. `larger_bodies`: paths with a limit of their own."""
        self._app = app
        self._allowed_hosts = frozenset(name.lower() for name in allowed_hosts)
        self._max_body_bytes = max_body_bytes
        self._larger_bodies = dict(larger_bodies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        has_started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal has_started
            has_started = True
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}  # in lower case, as ASGI says
                message["headers"] = [*message["headers"], *(header for header in _DEFAULTS if header[0] not in given)]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            status, detail = refusal
            response = problems.response(Request(scope), status, detail)
            await response(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, self._limited(receive, self._limit(scope)), send_with_headers)
        except Exception as error:
            if has_started:  # the status is sent already: the server can only break the connection
                raise
            await problems.defect(Request(scope), error)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._allowed_hosts and scope["path"] not in PROBES and _name(host) not in self._allowed_hosts:
            return 400, f"Host: this controller is not reached as {host!r} (setting PAPLOSS_ALLOWED_HOSTS)"
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            return 400, f"Content-Length: expected a number, got {length!r}"
        if int(length) > self._limit(scope):
            return 413, _too_large(self._limit(scope))
        return None

    def _limit(self, scope: Scope) -> int:
        return self._larger_bodies.get(scope["path"], self._max_body_bytes)

    def _limited(self, receive: Receive, max_bytes: int) -> Receive:
        """Count what really arrives: a chunked request announces no length."""
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > max_bytes:
                raise HTTPException(413, _too_large(max_bytes))  # the only exception that FastAPI passes on from here
            return message

        return receive_counted


def default_hosts(bind_host: str) -> tuple[str, ...]:
    """Names that requests may use when none are configured: the loopback's when bound to it, any (empty) otherwise."""
    if bind_host == "localhost":
        return LOOPBACK_NAMES
    try:
        address = ipaddress.ip_address(bind_host)
    except ValueError:
        return ()
    return (*LOOPBACK_NAMES, bind_host) if address.is_loopback else ()


def _name(host: str) -> str:
    """The Host header without its port, lower case; an IPv6 address keeps its brackets."""
    end = host.find("]") + 1 if host.startswith("[") else host.rfind(":")
    return (host[:end] if end > 0 else host).lower()


def _too_large(max_bytes: int) -> str:
    return f"the request is larger than {max_bytes} bytes"
