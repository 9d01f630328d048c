"""Traces, sent to a collector that is played here."""

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from controllers import RunningController
from fastapi import FastAPI

from paploss.controller.api.tracing import ENDPOINT_VARIABLE, TracingError, start_tracing
from paploss.controller.store.database import Database

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")


class Collector(BaseHTTPRequestHandler):
    """Keeps the spans that are posted to it."""

    spans: list[str]

    def do_POST(self) -> None:
        request = trace_service.ExportTraceServiceRequest()
        request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in request.resource_spans:
            names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
            self.spans += [f"{names['service.name']}: {s.name}" for scope in resource.scope_spans for s in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The spans that have arrived at the collector of the environment."""
    found: list[str] = []
    handler = type("Keeping", (Collector,), {"spans": found})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv(ENDPOINT_VARIABLE, f"http://127.0.0.1:{server.server_address[1]}")
        yield found
        server.shutdown()
        thread.join()


def test_requests_and_statements_are_traced_and_sent_before_the_end(
    spans: list[str], sqlite_url: str, redis_url: str, tmp_path: Path
) -> None:
    with RunningController(sqlite_url, redis_url, tmp_path) as controller, controller.http("viewer") as http:
        assert http.get("/api/v1/experiments").status_code == 200
        assert http.get("/healthz").status_code == 200
    assert "paploss-controller: GET /api/v1/experiments" in spans
    assert any(span.startswith("paploss-controller: SELECT") for span in spans)
    assert not any("healthz" in span for span in spans)


def test_nothing_is_loaded_unless_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(ENDPOINT_VARIABLE, raising=False)
    start_tracing(Database(f"sqlite:///{tmp_path / 'test.db'}"), FastAPI())()


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(ENDPOINT_VARIABLE, "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.fastapi", None)
    with pytest.raises(TracingError, match=r"install paploss\[otel\]"):
        start_tracing(Database(f"sqlite:///{tmp_path / 'test.db'}"), FastAPI())
