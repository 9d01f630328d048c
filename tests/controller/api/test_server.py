"""Listening, starting over what is not there, and requests that never come whole."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from controllers import RunningController
from sqlalchemy.exc import OperationalError

from paploss.controller.api.app import create_app
from paploss.controller.api.security.slow_senders import TimedHttp
from paploss.controller.api.server import AddressError, bind
from paploss.controller.settings import Settings
from paploss.controller.store.database import Database
from paploss.controller.store.errors import SchemaError
from paploss.jobs.queue import QueueError


def test_a_busy_port_is_named() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=f"port {port} on 127.0.0.1 is in use"):
            bind("127.0.0.1", port)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(AddressError, match=r"cannot listen on 203\.0\.113\.1, port 80"):
        bind("203.0.113.1", 80)


def test_without_redis_nothing_starts(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(QueueError, match=f"127.0.0.1:{port}"):
        create_app(Settings(state_dir=tmp_path, redis_url=f"redis://127.0.0.1:{port}/0"))


def test_without_the_database_nothing_starts(tmp_path: Path, redis_url: str) -> None:
    url = f"postgresql+psycopg://nobody@/nothing?host={tmp_path}"
    with pytest.raises(OperationalError):
        create_app(Settings(state_dir=tmp_path, database_url=url, redis_url=redis_url))


def test_a_newer_schema_is_refused(tmp_path: Path, sqlite_url: str, redis_url: str) -> None:
    database = Database(sqlite_url)
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(SchemaError, match="newer"):
        create_app(Settings(state_dir=tmp_path, database_url=sqlite_url, redis_url=redis_url))


HEAD = "POST /api/v1/experiments HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
HALF_SENT = {
    "nothing": "",
    "half of a line": "GET /heal",
    "half of the headers": HEAD,
    "half of a body": HEAD + "Content-Length: 900\r\n\r\n{{",
    "half of a body in chunks": HEAD + "Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n",
    "half of a second request": "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /heal",
    "half of a file": HEAD.replace("experiments", "experiments/load") + "Content-Length: 900\r\n\r\nxxx",
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, controller: RunningController) -> Iterator[RunningController]:
    monkeypatch.setattr(TimedHttp, "PATIENCE_SECONDS", 0.5)
    return controller


def connect(controller: RunningController, sent: str) -> socket.socket:
    host, _, port = controller.url.removeprefix("http://").partition(":")
    opened = socket.create_connection((host, int(port)), timeout=60)
    opened.sendall(sent.format(key=controller.keys["admin"]).encode())
    return opened


def read_to_the_end(opened: socket.socket) -> bytes:
    """What the server sends until it closes; a time-out if it never does."""
    content = b""
    with opened:
        try:
            while part := opened.recv(65_536):
                content += part
        except ConnectionResetError:
            pass
    return content


@pytest.mark.parametrize("what", HALF_SENT)
def test_a_request_that_never_comes_whole_ends(
    impatient: RunningController, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    answer = read_to_the_end(connect(impatient, HALF_SENT[what]))
    assert b"500" not in answer
    if "body" not in what and "file" not in what:
        assert b"408 Request Timeout" in answer
    assert "defect" not in caplog.text


def test_many_half_sent_requests_all_end_while_others_are_answered(impatient: RunningController) -> None:
    opened = [connect(impatient, list(HALF_SENT.values())[index % len(HALF_SENT)]) for index in range(1500)]
    with impatient.http("admin") as http:
        assert http.get("/api/v1/experiments").status_code == 200
    for each in opened:
        read_to_the_end(each)
    assert len(impatient._server.server_state.connections) <= 1


def test_a_slow_sender_who_goes_on_is_heard(impatient: RunningController, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimedHttp, "LEAST_BYTES_PER_SECOND", 1)
    body = '{"kind": "search", "profile": "unknown"}'
    opened = connect(impatient, HEAD + f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n")
    for character in body:  # over a longer time than a silent sender has
        opened.sendall(character.encode())
        time.sleep(0.05)
    assert read_to_the_end(opened).startswith(b"HTTP/1.1 422")


def test_headers_without_end_are_refused(controller: RunningController) -> None:
    answer = read_to_the_end(connect(controller, HEAD + "X-Long: " + "x" * 100_000))
    assert answer.startswith(b"HTTP/1.1 400")
