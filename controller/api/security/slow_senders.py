"""HTTP whose requests have to arrive: uvicorn alone waits for ever for the rest of one, and has no limit of headers."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class TimedHttp(HttpToolsProtocol):
    """A connection that ends where a request, or the first one, is not there in time.

    A request has PATIENCE_SECONDS, and one more for every LEAST_BYTES_PER_SECOND that have come: a large file on a slow
    line passes. Between two requests uvicorn's own limit holds.
    """

    PATIENCE_SECONDS = 20.0
    LEAST_BYTES_PER_SECOND = 1000
    MOST_HEADER_BYTES = 65_536

    _awaited_since: float | None = None
    """When the request that is coming began to come, or the connection; None between two requests."""
    _received_bytes = 0
    """Of it."""
    _is_in_headers = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await_request()
        self._watch = self.loop.call_later(self.PATIENCE_SECONDS, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to look."""
        self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes, and refuse headers without end."""
        self._received_bytes += len(data)
        super().data_received(data)
        if self._is_in_headers and self._received_bytes > self.MOST_HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response(f"expected at most {self.MOST_HEADER_BYTES} bytes of headers")

    def on_message_begin(self) -> None:
        """A request begins to come."""
        if self._awaited_since is None:
            self._await_request()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """What follows is the body, whose size the application limits."""
        self._is_in_headers = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request has come."""
        self._awaited_since, self._received_bytes = None, 0
        super().on_message_complete()

    def _await_request(self) -> None:
        self._awaited_since = self.loop.time()
        self._received_bytes = 0
        self._is_in_headers = True

    def _check(self) -> None:
        now = self.loop.time()
        if self._awaited_since is not None and self.flow.read_paused:  # it is the application that takes its time
            self._awaited_since = now
        patience_seconds = self.PATIENCE_SECONDS + self._received_bytes / self.LEAST_BYTES_PER_SECOND
        if self._awaited_since is None or now - self._awaited_since <= patience_seconds:
            self._watch = self.loop.call_later(self.PATIENCE_SECONDS, self._check)
            return
        if self._is_in_headers:
            self.transport.write(_TOO_SLOW)
        self.transport.close()
