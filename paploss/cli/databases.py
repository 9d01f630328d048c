"""The controller's own database, for commands that use it without HTTP; and `paploss migrate`."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from paploss.cli.connection import JsonOption
from paploss.cli.failures import BAD_INPUT, FAILED, CommandError
from paploss.cli.output import tell
from paploss.controller.settings import Settings
from paploss.controller.store import schema
from paploss.controller.store.database import Database, DatabaseError, reason_of, sqlite_file
from paploss.controller.store.errors import SchemaError


def migrate(as_json: JsonOption = False) -> None:
    """Bring the database of PAPLOSS_DATABASE_URL to this program's schema; repeating it is harmless."""
    with open_database():
        tell(as_json, {"up_to_date": True}, "the database is up to date")


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
            message = f"PAPLOSS_DATABASE_URL: the database cannot be used: {reason_of(error)}"
            raise CommandError(message, FAILED) from None
        finally:
            database.close()


@contextmanager
def hold_database(settings: Settings) -> Iterator[None]:
    """Be the one process that opens a SQLite file; nothing to hold for a database server.

    Raises:
        CommandError: another process is, or its folder cannot be written to.
    """
    try:
        path = sqlite_file(settings.resolved_database_url)
    except ValueError:
        message = "PAPLOSS_DATABASE_URL: expected a URL such as postgresql://user@host/name or sqlite:///file.db"
        raise CommandError(message, BAD_INPUT) from None
    if path is None:
        yield
        return
    lock_file = Path(f"{path}.lock")
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        opened = lock_file.open("ab")
    except OSError as error:  # a read-only file system, or another owner's folder
        place = lock_file if lock_file.exists() else lock_file.parent
        message = f"{place}: the state folder cannot be written to: {error.strerror}"
        raise CommandError(message, FAILED) from None
    for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        if file.exists() and not os.access(file, os.R_OK | os.W_OK):
            message = f"{file}: cannot be written to; its owner is {file.stat().st_uid}, this program's {os.geteuid()}"
            raise CommandError(message, FAILED)
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"{path}: a controller has this database open; use it over HTTP", FAILED) from None
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
