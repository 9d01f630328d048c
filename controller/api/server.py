"""Serving the application over HTTP, once the database and Redis are reachable."""

import errno
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from paploss.controller.api.security.slow_senders import TimedHttp
from paploss.controller.loop.driver import connect
from paploss.controller.settings import Settings
from paploss.controller.store.database import UNAVAILABLE, read_clock
from paploss.jobs.queue import QueueError

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5
"""How long open requests, live event streams among them, have when the server stops."""

KEEP_ALIVE_SECONDS = 15
"""How long an unused connection stays: longer than the pause between two renewals, so that a worker needs only one."""

_PAUSE_SECONDS = 1.0


class AddressError(Exception):
    """The address to listen on is in use, or not this machine's; one line for people."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        AddressError: the port is in use, or the address is not this machine's.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressError(f"port {port} on {host} is in use; choose another one, or end what uses it") from error
        raise AddressError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error
    return listener


def make_server(app: FastAPI) -> uvicorn.Server:
    """A server that is run with `run(sockets=[bind(host, port)])`, until SIGINT, SIGTERM or its `should_exit`."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=TimedHttp,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            # By itself uvicorn would believe everybody on this machine.
            forwarded_allow_ips=os.environ.get("FORWARDED_ALLOW_IPS", ""),
            log_config=None,
            access_log=False,
            lifespan="on",
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )


def await_servers(settings: Settings) -> None:
    """Wait until the database and Redis can be reached, for at most `start_seconds`.

    Returns in any case; connecting then raises the reason. In a cluster all parts start together: names do not resolve
    yet, servers still prepare their volumes.
    """
    give_up_at = time.monotonic() + settings.start_seconds
    told = ""
    with _ended_by_sigterm():
        while time.monotonic() < give_up_at and (obstacle := _find_obstacle(settings)):
            if obstacle != told:
                logger.warning("waiting for %s", obstacle)
                told = obstacle
            time.sleep(_PAUSE_SECONDS)


def _find_obstacle(settings: Settings) -> str:
    database, queue = connect(settings)
    try:
        with database.read() as session:
            read_clock(session)
        queue.ping()
    except UNAVAILABLE as error:
        return f"the database: {str(getattr(error, 'orig', error)).strip().partition(chr(10))[0]}"
    except QueueError as error:
        return f"Redis: {error}"
    finally:
        queue.close()
        database.close()
    return ""


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt: the first process of a container ignores signals that it has no handler for."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
