"""Commands that are a controller, or keep its database: `up`, `serve`, `migrate`."""

import fcntl
import json
import logging
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

from paploss.cli.connection import DEFAULT_STATE, JsonOption, StateOption
from paploss.cli.failures import BAD_INPUT, FAILED, CommandError
from paploss.cli.platform import Platform, PlatformError, count_cores, count_gpus, run_platform
from paploss.controller.scaling.errors import ClusterError, PoolsError
from paploss.controller.settings import Settings
from paploss.controller.store import schema
from paploss.controller.store.database import Database
from paploss.controller.store.errors import SchemaError
from paploss.jobs.logs import start_logging

WorkersOption = Annotated[
    int | None, typer.Option(min=0, help="Worker processes (default: one per GPU, or per core where there is none).")
]
PortOption = Annotated[
    int | None, typer.Option(min=1, max=65535, help="Port of the page on this machine (default: 8080).")
]


def up(
    state: StateOption = DEFAULT_STATE,
    workers: WorkersOption = None,
    port: PortOption = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="Folder whose data sets and weights a search may name; repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the whole platform on this machine until Ctrl-C; unfinished searches continue."""
    console = Console(stderr=as_json, highlight=False)
    end_on_sigterm()
    try:
        with run_platform(
            state, port or 8080, workers_here(workers), [folder.resolve() for folder in data or ()]
        ) as platform:
            if as_json:
                typer.echo(json.dumps({"url": platform.address.url, "sign_in_url": platform.sign_in_url}))
            announce(platform, console)
            console.print("Start a search from another terminal: paploss search SPEC.yaml", markup=False)
            try:
                watch_children(platform, console)
            except KeyboardInterrupt:
                console.print("Ending: running trials leave a checkpoint ...")
    except PlatformError as error:
        raise CommandError(str(error), FAILED) from None


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on (default: PAPLOSS_HOST, else 127.0.0.1).")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port (default: PAPLOSS_PORT, else 8080).")] = None,
) -> None:
    """Run a controller alone, as in a cluster; its settings are the environment's PAPLOSS_... variables."""
    # The web framework, scipy and redis take a second to import: no other command needs them.
    from paploss.controller.api.app import create_app  # noqa: PLC0415
    from paploss.controller.api.driving import make_driver  # noqa: PLC0415
    from paploss.controller.api.server import AddressError, await_servers, bind, make_server  # noqa: PLC0415
    from paploss.controller.api.tracing import TracingError  # noqa: PLC0415
    from paploss.jobs.queue import QueueError  # noqa: PLC0415

    settings = read_settings(host=host, port=port)
    start_logging(settings.log_level, settings.log_format)
    with ExitStack() as stack:
        stack.enter_context(hold_database(settings))
        await_servers(settings)
        try:
            listener = stack.enter_context(bind(settings.host, settings.port))
            server = make_server(create_app(settings, make_driver))
        except (AddressError, SchemaError, QueueError, PoolsError, ClusterError, TracingError) as error:
            raise _last_words(settings, str(error)) from None
        except DatabaseError as error:
            raise _last_words(settings, f"PAPLOSS_DATABASE_URL: the database cannot be used: {error.orig}") from None
        server.run(sockets=[listener])


def _last_words(settings: Settings, message: str) -> Exception:
    """What ends a controller that cannot start: for people, or as a line of its log where programs read that."""
    if settings.log_format == "text":
        return CommandError(message, FAILED)
    logging.getLogger(__name__).critical(message)
    return typer.Exit(FAILED)


def migrate(as_json: JsonOption = False) -> None:
    """Bring the database of PAPLOSS_DATABASE_URL to this program's schema; repeating it is harmless."""
    with open_database():
        typer.echo(json.dumps({"up_to_date": True}) if as_json else "the database is up to date")


@contextmanager
def open_database() -> Iterator[Database]:
    """The database of the environment, up to date.

    Raises:
        CommandError: it cannot be reached, is newer than this program, or is a SQLite file that a controller has open.
    """
    settings = read_settings()
    with hold_database(settings):
        database = Database(settings.resolved_database_url)
        try:
            schema.upgrade(database)
            yield database
        except SchemaError as error:
            raise CommandError(str(error), FAILED) from None
        except DatabaseError as error:
            raise CommandError(f"PAPLOSS_DATABASE_URL: the database cannot be used: {error.orig}", FAILED) from None
        finally:
            database.close()


@contextmanager
def hold_database(settings: Settings) -> Iterator[None]:
    """Be the one process that opens a SQLite file; nothing to hold for a database server.

    Raises:
        CommandError: another process is.
    """
    try:
        path = make_url(settings.resolved_database_url)
    except ArgumentError:
        message = "PAPLOSS_DATABASE_URL: expected a URL such as postgresql://user@host/name or sqlite:///file.db"
        raise CommandError(message, BAD_INPUT) from None
    if path.get_backend_name() != "sqlite" or not path.database:
        yield
        return
    lock_file = Path(f"{path.database}.lock")
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"{path.database}: a controller has this database open; use it over HTTP", FAILED
            ) from None
        yield


def read_settings(**given: object) -> Settings:
    """The operator's settings, with options that were `given`.

    Raises:
        CommandError: names the variable at fault.
    """
    try:
        return Settings.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        faults = [
            f"PAPLOSS_{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        ]
        raise CommandError("\n".join(faults), BAD_INPUT) from None


def workers_here(workers: int | None) -> int:
    """The number of workers that was asked for, or what this machine has room for."""
    return workers if workers is not None else count_gpus() or count_cores()


def announce(platform: Platform, console: Console) -> None:
    """Tell where the page is."""
    address = f"The page: {platform.sign_in_url} (this address opens it once, within ten minutes)"
    console.print(address, markup=False, soft_wrap=True)


def watch_children(platform: Platform, console: Console) -> NoReturn:
    """Keep the platform's processes running until this one is interrupted."""
    while True:
        for name in platform.revive():
            console.print(f"{name} had ended and was started again", markup=False)
        time.sleep(0.5)


def end_on_sigterm() -> None:
    """Have SIGTERM do what Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
