"""The way to a controller: what goes through a proxy, and what is said when that goes wrong."""

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx
import pytest
from controllers import RunningController

from paploss.client.errors import ApiError, UnreachableError
from paploss.client.sync_client import Client
from paploss.client.transport import Route

ELSEWHERE = "http://search.example:8080"


class Forwarder(BaseHTTPRequestHandler):
    """A proxy that knows one host, search.example, and takes it for a controller on this machine."""

    target = ""
    seen: list[str]

    def do_GET(self) -> None:
        """Forward a request for the host that is known."""
        type(self).seen.append(self.path)
        if not self.target:
            self.send_error(502)
            return
        headers = {"Authorization": self.headers["Authorization"]}
        reply = httpx.get(self.target + urlsplit(self.path).path, headers=headers, trust_env=False)
        self.send_response(reply.status_code)
        self.send_header("Content-Type", reply.headers["Content-Type"])
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class OtherServer(BaseHTTPRequestHandler):
    """A web server that is no controller, and whose answers a proxy may corrupt."""

    encoding = "identity"

    def do_GET(self) -> None:
        """Answer with a page."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Encoding", self.encoding)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"<br>")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def other_server() -> Iterator[tuple[type[OtherServer], Client]]:
    """What answers, and a client that takes it for a controller."""
    handler = type("Handler", (OtherServer,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Client(f"http://127.0.0.1:{server.server_port}", "key", attempts=1) as client:
            yield handler, client
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Forwarder]]:
    """A proxy that the environment names for everything."""
    handler = type("Handler", (Forwarder,), {"seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in ("http_proxy", "https_proxy", "no_proxy", "NO_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", f"http://me:hidden@127.0.0.1:{server.server_port}")
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_controller_elsewhere_is_reached_through_the_proxy(
    controller: RunningController, proxy: type[Forwarder]
) -> None:
    proxy.target = controller.url
    with Client(ELSEWHERE, controller.keys["viewer"], attempts=1) as client:
        assert client.status().workers_live == 0
    assert proxy.seen == [f"{ELSEWHERE}/api/v1/status"]


def test_a_controller_on_this_machine_is_not(controller: RunningController, proxy: type[Forwarder]) -> None:
    with controller.client("viewer") as client:
        client.status()
    assert proxy.seen == []


@pytest.mark.usefixtures("proxy")
def test_an_answer_of_the_proxy_itself_names_it() -> None:
    with (
        Client(ELSEWHERE, "key", attempts=1) as client,
        pytest.raises(ApiError, match=r"502 .* \(through the proxy http://127.0.0.1:\d+ \(HTTP_PROXY\)\)$"),
    ):
        client.status()


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, proxy: type[Forwarder]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("HTTP_PROXY", f"http://me:hidden@{address}")
    with Client(ELSEWHERE, "key", attempts=1) as client, pytest.raises(UnreachableError) as caught:
        client.status()
    assert f"through the proxy http://{address} (HTTP_PROXY)" in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert proxy.seen == []


@pytest.mark.parametrize(
    ("proxy_url", "told"),
    [
        ("socks5://127.0.0.1:1080", r"needs another package: pip install 'httpx\[socks\]'"),
        ("ftp://127.0.0.1:21", "ALL_PROXY: not a proxy's address"),
        ("http://[", "ALL_PROXY"),
        ("::::", "ALL_PROXY"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, proxy: type[Forwarder], proxy_url: str, told: str
) -> None:
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.setenv("ALL_PROXY", proxy_url)
    with pytest.raises(UnreachableError, match=told):
        Client(ELSEWHERE, "key")
    Client("http://127.0.0.1:8080", "key").close()  # needs none of it
    assert proxy.seen == []


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize(
    "ask", [Client.status, lambda client: client.figure("0id", "rewards"), lambda client: list(client.workers())]
)
def test_what_is_no_controllers_answer_is_told_in_one_line(
    other_server: tuple[type[OtherServer], Client], encoding: str, ask: Callable[[Client], object]
) -> None:
    handler, client = other_server
    handler.encoding = encoding
    with pytest.raises(UnreachableError, match=r"not a controller|no controller answers"):
        ask(client)


@pytest.mark.parametrize("url", ["http://[fd00::/8", "http://a:b", "http://\0", "http://", "127.0.0.1:8080", "ftp://a"])
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(UnreachableError, match="expected an address such as http://HOST:8080"):
        Route(url)


def test_a_key_that_no_header_can_carry_is_said() -> None:
    with pytest.raises(UnreachableError, match="API key: expected printable ASCII"):
        Client(ELSEWHERE, "schlüssel")


def test_plain_http_trusts_no_certificate_and_tls_all_usual_ones() -> None:
    assert Route("http://a").options("")["verify"].get_ca_certs() == []
    assert Route("https://a").options("")["verify"].get_ca_certs() != []
