"""A network between two programs that a test can cut, hold, slow down, rob of replies, or have deliver twice.

A proxy on the loopback.
"""

import re
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Self

PIECE_BYTES = 1 << 16
ANSWER_SECONDS = 5

_LENGTH = re.compile(rb"^content-length: *([0-9]+)", re.IGNORECASE | re.MULTILINE)

Address = tuple[str, int] | Path


class Wire:
    """Passes bytes on between `with` and its end. `target`: host and port, or the path of a Unix socket."""

    def __init__(self, target: Address) -> None:
        self.target = target
        """May be changed: new connections go to the new one."""
        self.delay_seconds = 0.0
        """How long each piece travels, either way."""
        self.robbed: Counter[bytes] = Counter()
        """How many replies were lost since `rob`, by what their requests began with."""
        self._robbing: dict[bytes, int] = {}
        self._passed: dict[bytes, bytes] = {}
        """The last HTTP request of each first line."""
        self._passing = threading.Event()
        self._passing.set()
        self._cut = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.redis_url = f"redis://127.0.0.1:{self.port}/0"
        self.http_url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept, name="wire", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.cut()
        self._passing.set()

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        self._cut = True
        with self._lock:
            for one in self._open:
                _break(one)

    def hold(self) -> None:
        """Let nothing arrive, and tell nobody: what is sent waits."""
        self._passing.clear()

    def repair(self) -> None:
        """Let everything pass again, also what was held."""
        self._cut = False
        self._passing.set()

    def rob(self, request: bytes, times: int = 1) -> None:
        """The next `times` requests that begin with these bytes arrive, and their replies do not."""
        with self._lock:
            self._robbing[request] = times
            self.robbed[request] = 0

    def replay(self, request: bytes) -> bytes:
        """Deliver once more the last HTTP request that began with these bytes; its reply, empty without one."""
        with self._lock:
            found = next((whole for line, whole in self._passed.items() if line.startswith(request)), b"")
        server = self._connect() if found else None
        if server is None:
            return b""
        with server, suppress(OSError):
            server.settimeout(ANSWER_SECONDS)
            server.sendall(found)
            return server.recv(PIECE_BYTES)
        return b""

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = None if self._cut else self._connect()
            if server is None:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            _Connection(self, client, server).start()

    def _connect(self) -> socket.socket | None:
        is_path = isinstance(self.target, Path)
        server = socket.socket(socket.AF_UNIX if is_path else socket.AF_INET)
        try:
            server.connect(str(self.target) if is_path else self.target)
        except OSError:
            server.close()
            return None
        return server

    def _await_passage(self) -> None:
        time.sleep(self.delay_seconds)
        self._passing.wait()

    def _is_robbed(self, piece: bytes) -> bool:
        with self._lock:
            for request, times in self._robbing.items():
                if times and piece.startswith(request):
                    self._robbing[request] -= 1
                    self.robbed[request] += 1
                    return True
        return False

    def _remember(self, request: bytes) -> None:
        with self._lock:
            self._passed[request.partition(b"\r\n")[0]] = request

    def _forget(self, *ends: socket.socket) -> None:
        with self._lock:
            self._open -= set(ends)
            for one in ends:
                one.close()


class _Connection:
    """The two ends of one connection, and a thread for each direction."""

    def __init__(self, wire: Wire, client: socket.socket, server: socket.socket) -> None:
        self._wire = wire
        self._client, self._server = client, server
        self._robbed = False
        self._request = b""
        self._there = threading.Thread(target=self._pass_requests, name="wire-there", daemon=True)
        self._back = threading.Thread(target=self._pass_replies, name="wire-back", daemon=True)

    def start(self) -> None:
        self._back.start()
        self._there.start()

    def _pass_requests(self) -> None:
        with suppress(OSError):
            while piece := self._client.recv(PIECE_BYTES):
                self._wire._await_passage()
                self._robbed = self._robbed or self._wire._is_robbed(piece)
                self._remember(piece)
                self._server.sendall(piece)
        _break(self._server)
        self._back.join()
        self._wire._forget(self._client, self._server)

    def _remember(self, piece: bytes) -> None:
        """A client sends a request's head and its body in pieces, and the next one after the reply."""
        if piece.startswith(b"POST "):
            self._request = piece
        elif self._request:
            self._request += piece
        head, _, body = self._request.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length is not None and len(body) >= int(length[1]):  # half a request would have no reply
            self._wire._remember(self._request)

    def _pass_replies(self) -> None:
        with suppress(OSError):
            while (piece := self._server.recv(PIECE_BYTES)) and not self._robbed:
                self._wire._await_passage()
                self._client.sendall(piece)
        _break(self._client)


def _break(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
