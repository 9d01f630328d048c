"""A gate before a Kubernetes API: lets requests through, refuses them, or is closed, as a test says."""

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx


class Gate:
    """Serves on the loopback between `with` and its end; `refusals` are statuses for the next matching requests."""

    def __init__(self, server: str) -> None:
        self.refusals: list[tuple[str, str, int]] = []
        """Method, end of the path, status; each is used once."""
        self.closed = False
        self.seen: Counter[str] = Counter()
        self._http = httpx.Client(base_url=server, verify=False, timeout=30, trust_env=False)  # noqa: S501 (a test's own)
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline()
                if not self.raw_requestline or not self.parse_request() or gate.closed:
                    self.close_connection = True
                else:
                    self._answer(*gate._pass(self))

            def _answer(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._http.close()

    def _pass(self, request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        path = request.path.partition("?")[0]
        for refusal in self.refusals:
            if refusal[0] == request.command and path.endswith(refusal[1]):
                self.refusals.remove(refusal)
                self.seen[f"{refusal[2]}"] += 1
                return refusal[2], b'{"message": "refused by the gate"}'
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in ("authorization", "content-type", "accept")
        }
        reply = self._http.request(request.command, request.path, content=body, headers=headers)
        return reply.status_code, reply.content
