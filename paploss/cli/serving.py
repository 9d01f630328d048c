"""`paploss serve`: a controller alone."""

import gc
import logging
from contextlib import ExitStack
from typing import Annotated

import typer

from paploss.cli.databases import hold_database, read_settings
from paploss.cli.failures import FAILED, CommandError
from paploss.controller.api.app import create_app
from paploss.controller.api.driving import make_driver
from paploss.controller.api.server import AddressError, await_servers, bind, make_server
from paploss.controller.api.tracing import TracingError
from paploss.controller.scaling.errors import ClusterError, PoolsError
from paploss.controller.settings import Settings
from paploss.controller.store.database import DatabaseError, reason_of
from paploss.controller.store.errors import SchemaError
from paploss.jobs.logs import start_logging
from paploss.jobs.queue import QueueError


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on (default: PAPLOSS_HOST, else 127.0.0.1).")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port (default: PAPLOSS_PORT, else 8080).")] = None,
) -> None:
    """Run a controller alone, as in a cluster; its settings are the environment's PAPLOSS_... variables."""
    settings = read_settings(host=host, port=port)
    start_logging(settings.log_level, settings.log_format)
    with ExitStack() as stack:
        stack.enter_context(hold_database(settings))
        try:
            await_servers(settings)
            listener = stack.enter_context(bind(settings.host, settings.port))
            server = make_server(create_app(settings, make_driver))
        except (AddressError, SchemaError, QueueError, PoolsError, ClusterError, TracingError) as error:
            raise _startup_failure(settings, str(error)) from None
        except DatabaseError as error:
            message = f"PAPLOSS_DATABASE_URL: the database cannot be used: {reason_of(error)}"
            raise _startup_failure(settings, message) from None
        # What was made until now stays. Each full look for garbage would go through all of it, and hold up every lease.
        # Looks at what is young are seldom: after 700 objects, Python's default, they take a twentieth of the time.
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        server.run(sockets=[listener])


def _startup_failure(settings: Settings, message: str) -> Exception:
    """What ends a controller that cannot start: for people, or as a line of its log where programs read that."""
    if settings.log_format == "text":
        return CommandError(message, FAILED)
    logging.getLogger(__name__).critical(message)
    return typer.Exit(FAILED)
