"""The schema's version: bring it up to date, or refuse a database that another version of the program made."""

import random
import time
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from paploss.controller.store.database import Database
from paploss.controller.store.errors import SchemaError

MIGRATIONS = Path(__file__).with_name("migrations")
_MIGRATION_LOCK = 7_290_417
_LOCK_MILLISECONDS = 500
"""Below PostgreSQL's `deadlock_timeout`: where a migration and a controller that still serves wait for each other, it
is the migration that gives up and tries again, never a request."""
_TRIES = 60
"""Then it waits for as long as it takes: what holds a table for so long is no request (a vacuum ends when it is in the
way of somebody who waits for longer than `deadlock_timeout`)."""


@cache
def newest() -> str:
    """The schema that this program works with."""
    return _script().get_current_head() or ""


def is_known(revision: str) -> bool:
    """Whether this program can bring that schema up to date."""
    return revision in _revisions()


def upgrade(database: Database, revision: str = "head") -> None:
    """Create the tables, or bring them to this program's version; does nothing where they are up to date.

    `revision`: another schema to stop at, for what was written by an older program.

    Raises:
        SchemaError: the database is newer than this program.
    """
    for _ in range(_TRIES):
        if _find_revision(database) == newest():
            return
        try:
            _migrate(database, revision, _LOCK_MILLISECONDS)
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable | DeadlockDetected):
                raise
            time.sleep(random.uniform(0.5, 1.0))
        else:
            return
    _migrate(database, revision, lock_milliseconds=0)


def _migrate(database: Database, revision: str, lock_milliseconds: int) -> None:
    """One transaction; `lock_milliseconds`: how long it waits for each lock, 0 without a limit."""
    with database.engine.begin() as connection:
        if not database.is_sqlite:  # of several replicas that start at once, one migrates and the others wait for it
            connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            connection.execute(text(f"SET LOCAL lock_timeout = {lock_milliseconds}"))
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def check(database: Database) -> None:
    """Refuse a database whose schema is not this program's.

    Raises:
        SchemaError: says whether the program or the database is the older one, and what to do.
    """
    found = _find_revision(database)
    if found != newest():
        raise SchemaError(
            f"database {database.url.render_as_string()}: schema {found or 'empty'} is older than this program's "
            f"({newest()}); upgrade it first"
        )


def _find_revision(database: Database) -> str | None:
    with database.engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and not is_known(found):
        raise SchemaError(
            f"database {database.url.render_as_string()}: schema {found} is newer than this program "
            f"({newest()}); install the newer program, or restore a backup"
        )
    return found


@cache  # cached: the files do not change while the program runs, and each health probe asks
def _revisions() -> frozenset[str]:
    return frozenset(script.revision for script in _script().walk_revisions())


def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
