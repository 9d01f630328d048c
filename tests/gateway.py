"""A gateway before a controller that answers some requests itself, or never to the end; the others it passes on."""

import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx

PROBLEM = "application/problem+json"
DRIP_SECONDS = 0.2


@dataclass
class Rule:
    """What happens to requests of a path that hold certain bytes."""

    path: str
    holding: bytes
    status: int
    kind: str
    times: float
    drips: bool
    used: int = 0


class Gateway:
    """Serves between `with` and its end. The first rule that fits a request decides; without one it is passed on."""

    def __init__(self, target_url: str) -> None:
        self._target = httpx.Client(base_url=target_url, timeout=30)
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with suppress(OSError):  # who asked has gone
                    gateway._answer(self, body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="gateway")
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._target.close()

    def answer(
        self, path: str, status: int, *, holding: str = "", kind: str = PROBLEM, times: float = float("inf")
    ) -> Rule:
        """Answer requests to /api/v1/leases/`path` with a status, so often."""
        return self._add(Rule(path, holding.encode(), status, kind, times, drips=False))

    def drip(self, path: str) -> Rule:
        """Send one byte of an answer after the other, and never the last."""
        return self._add(Rule(path, b"", 200, "", float("inf"), drips=True))

    def forget(self) -> None:
        """Pass everything on again."""
        with self._lock:
            self._rules.clear()

    def _add(self, rule: Rule) -> Rule:
        with self._lock:
            self._rules.append(rule)
        return rule

    def _find(self, path: str, body: bytes) -> Rule | None:
        with self._lock:
            for rule in self._rules:
                if path.endswith(f"/leases/{rule.path}") and rule.holding in body and rule.used < rule.times:
                    rule.used += 1
                    return rule
        return None

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        rule = self._find(handler.path, body)
        if rule is None:
            headers = {name: handler.headers[name] for name in ("Authorization", "Content-Type")}
            reply = self._target.post(handler.path, content=body, headers=headers)
            _send(handler, reply.status_code, reply.headers["Content-Type"], reply.content)
        elif rule.drips:
            handler.send_response(rule.status)
            handler.flush_headers()
            while not self._ended.wait(DRIP_SECONDS):
                handler.wfile.write(b"x")
        else:
            _send(handler, rule.status, rule.kind, json.dumps({"detail": "because of the gateway"}).encode())


def _send(handler: BaseHTTPRequestHandler, status: int, kind: str, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
