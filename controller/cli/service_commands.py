"""Commands that are a controller, or keep its database: `up`, `serve`, `migrate`."""

import logging
import signal
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from sqlalchemy.exc import OperationalError

from controller.cli.connection import DEFAULT_STATE, StateOption
from controller.cli.failures import BAD_INPUT, FAILED, CommandError
from controller.cli.platform import Platform, PlatformError, count_cores, count_gpus, run_platform
from controller.settings import Settings
from controller.store import schema
from controller.store.database import Database
from controller.store.errors import SchemaError
from jobs.queue import QueueError

WorkersOption = Annotated[
    int | None, typer.Option(min=0, help="Worker processes [one per GPU, or per core where there is none].")
]
PortOption = Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the page on this machine [8080].")]


def up(
    state: StateOption = DEFAULT_STATE,
    workers: WorkersOption = None,
    port: PortOption = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="Folder whose data sets and weights a search may name; repeatable.")
    ] = None,
) -> None:
    """Run the whole platform on this machine, until Ctrl-C: what searches it holds go on where they were."""
    console = Console()
    end_on_sigterm()
    try:
        with run_platform(state, port or 8080, workers_here(workers), [folder.resolve() for folder in data or ()]) as platform:
            console.print(f"The page: {platform.sign_in_url}  (opens once, within ten minutes)", markup=False)
            console.print("Start a search from another terminal: paploss search SPEC.yaml", markup=False)
            try:
                watch_children(platform, console)
            except KeyboardInterrupt:
                console.print("Ending: running trials leave a checkpoint ...")
    except PlatformError as error:
        raise CommandError(str(error), FAILED) from None


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [PAPLOSS_HOST, 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port [PAPLOSS_PORT, 8080].")] = None,
) -> None:
    """Run a controller alone, as in a cluster; its settings are the environment's PAPLOSS_... variables."""
    # The web framework takes a third of a second to import: no other command needs it.
    import uvicorn  # noqa: PLC0415

    from controller.api.app import create_app  # noqa: PLC0415

    settings = read_settings(host=host, port=port)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        app = create_app(settings)
    except (SchemaError, QueueError) as error:
        raise CommandError(str(error), FAILED) from None
    except OperationalError as error:
        raise CommandError(f"the database cannot be reached: {error.orig}", FAILED) from None
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,  # an open page's event stream would otherwise hold the process
    )


def migrate() -> None:
    """Bring the database of the environment (PAPLOSS_DATABASE_URL) to this program's schema; repeating it is harmless."""
    settings = read_settings()
    database = Database(settings.resolved_database_url)
    try:
        schema.upgrade(database)
    except SchemaError as error:
        raise CommandError(str(error), FAILED) from None
    except OperationalError as error:
        raise CommandError(f"the database cannot be reached: {error.orig}", FAILED) from None
    finally:
        database.close()
    Console().print("the database is up to date")


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


def watch_children(platform: Platform, console: Console) -> NoReturn:
    """Keep the platform's processes running until this one is interrupted."""
    while True:
        for name in platform.revive():
            console.print(f"{name} had ended and was started again", markup=False)
        time.sleep(0.5)


def end_on_sigterm() -> None:
    """Have SIGTERM do what Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
