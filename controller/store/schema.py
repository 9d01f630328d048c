"""The schema's version: bring it up to date, or refuse a database that another version of the program made."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select

from controller.store.database import Database
from controller.store.errors import SchemaError

MIGRATIONS = Path(__file__).with_name("migrations")
_MIGRATION_LOCK = 7_290_417


def upgrade(database: Database) -> None:
    """Create the tables, or bring them to this program's version; nothing is done where they are there already.

    Raises:
        SchemaError: the database is newer than this program.
    """
    if _find_revision(database) == _head():
        return
    with database.engine.begin() as connection:
        if not database.is_sqlite:  # of several replicas that start at once, one migrates and the others wait for it
            connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check(database: Database) -> None:
    """Refuse a database whose schema is not this program's.

    Raises:
        SchemaError: says whether the program or the database is the older one, and what to do.
    """
    found = _find_revision(database)
    if found != _head():
        raise SchemaError(
            f"database {database.url.render_as_string()}: schema {found or 'empty'} is older than this program's "
            f"({_head()}); upgrade it first"
        )


def _find_revision(database: Database) -> str | None:
    with database.engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise SchemaError(
            f"database {database.url.render_as_string()}: schema {found} is newer than this program "
            f"({_head()}); install the newer program, or restore a backup"
        )
    return found


def _head() -> str:
    heads = ScriptDirectory.from_config(_config()).get_heads()
    if len(heads) != 1:
        raise SchemaError(f"migrations: expected one newest, got {heads}")
    return heads[0]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
