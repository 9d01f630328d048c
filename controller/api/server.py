"""Serving the application over HTTP."""

import errno
import socket

import uvicorn
from fastapi import FastAPI

GRACE_SECONDS = 5
"""Open requests, live event streams among them, get so long when the server stops."""


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
            log_config=None,
            access_log=False,
            lifespan="on",
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
