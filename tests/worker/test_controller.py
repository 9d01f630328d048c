"""What a worker makes of answers that a controller of its own version never gives."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

import pytest
from pydantic import SecretStr

from paploss.jobs.lease import ClaimRequest, Granted, RenewRequest, WorkerInfo
from paploss.worker.controller import Controller, MismatchError, RefusedError, UnavailableError, UnreadableLeaseError

CLAIM = ClaimRequest(claim_id=uuid4(), trial_id="trial", worker=WorkerInfo(name="worker"))


class Answer(BaseHTTPRequestHandler):
    """Answers every request with one status and body."""

    status, kind, body, encoding = 200, "application/json", b"{}", "identity"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(self.body)))
        self.send_header("Content-Encoding", self.encoding)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def answering() -> Iterator[tuple[type[Answer], Controller]]:
    handler = type("OneAnswer", (Answer,), {})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        with Controller(f"http://127.0.0.1:{server.server_port}", SecretStr("key")) as controller:
            yield handler, controller
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (422, "application/problem+json", MismatchError),  # it would be refused for every trial
        (401, "application/problem+json", MismatchError),
        (409, "application/problem+json", RefusedError),
        (404, "application/problem+json", RefusedError),
        (413, "text/html", RefusedError),  # whoever finds it too large
        (404, "text/html", UnavailableError),  # a proxy in between, while the controller restarts
        (503, "application/problem+json", UnavailableError),
        (200, "application/json", UnreadableLeaseError),  # no lease in it
    ],
)
def test_an_answer_to_a_claim_is_sorted(answering, status, kind, error):
    handler, controller = answering
    handler.status, handler.kind, handler.body = status, kind, b'{"detail": "because"}'
    with pytest.raises(error) as caught:
        controller.claim(CLAIM)
    assert type(caught.value) is error


@pytest.mark.parametrize(("status", "lost"), [(404, True), (409, True), (410, True), (413, False), (422, False)])
def test_a_refusal_tells_a_lost_lease_from_a_request_that_is_not_understood(answering, status, lost):
    handler, controller = answering
    handler.status, handler.kind = status, "application/problem+json"
    with pytest.raises(RefusedError) as caught:
        controller.renew(RenewRequest(trial_id="trial", token="token"))
    assert caught.value.lease_lost == lost


def test_an_answer_that_cannot_be_decoded_is_none(answering):
    handler, controller = answering
    handler.encoding = "gzip"
    with pytest.raises(UnavailableError, match=r"^renew: .*header"):
        controller.renew(RenewRequest(trial_id="trial", token="token"))


def test_of_a_lease_that_cannot_be_read_remains_what_releases_it(answering):
    handler, controller = answering
    handler.body = b'{"trial_id": "trial", "token": "%s", "lease_seconds": null, "job": {"noise": null}}' % (b"0" * 32)
    with pytest.raises(UnreadableLeaseError, match="attempt") as caught:
        controller.claim(CLAIM)
    assert caught.value.granted == Granted(trial_id="trial", token="0" * 32)
