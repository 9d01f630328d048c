"""Connections to SQLite and PostgreSQL, and the database's own clock.

Times are seconds since 1970 (UTC) as floats in both databases, so that a lease is plain arithmetic. They come from
the database, never from a process: machines' clocks may differ by hours.
"""

import copy
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Table,
    create_engine,
    event,
    make_url,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import SQLAlchemyError as DatabaseError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement

__all__ = ["UNAVAILABLE", "UNSTORABLE", "VANISHED", "WHY_UNSTORABLE", "Database", "DatabaseError", "Session"]
"""What the rest of the controller may import of SQLAlchemy."""

INSERTS: Final[Mapping[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
"""By dialect: both have ON CONFLICT, but SQLAlchemy has no common construct for it."""

UNAVAILABLE: tuple[type[DatabaseError], ...] = (
    OperationalError,
    InternalError,  # the server has ended an idle transaction
    InterfaceError,
    PoolTimeoutError,
)
"""The database does not answer; a retry may succeed."""
UNSTORABLE: type[DatabaseError] = DataError
"""The database cannot hold a value."""
WHY_UNSTORABLE: Final = "cannot be stored: a NUL character, or a number out of range"
VANISHED: type[DatabaseError] = StaleDataError
"""A row was deleted between its reading and its change."""

BUSY_TIMEOUT_SECONDS = 30
_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
"""When a connection to PostgreSQL over a broken network is given up: libpq waits for hours. The URL may override it."""


class now(FunctionElement[float]):  # noqa: N801 (reads as the SQL function that it is)
    """The database's clock: seconds since 1970, UTC."""

    type = Float()
    inherit_cache = True


@compiles(now, "postgresql")
def _now_postgresql(_element: now, _compiler: SQLCompiler, **_options: Any) -> str:
    # clock_timestamp, not now(): a transaction that waited for a lock must not write a lease from before the wait.
    return "EXTRACT(EPOCH FROM clock_timestamp())::float8"


@compiles(now, "sqlite")
def _now_sqlite(_element: now, _compiler: SQLCompiler, **_options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


def read_clock(session: Session) -> float:
    """The database's current time: seconds since 1970, UTC."""
    return session.execute(select(now())).scalar_one()


def is_one_of(column: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
    """`column IN values`, for values that never change: SQLAlchemy compiles the list of an IN again each time."""
    return or_(*(column == value for value in values))


def table_of(model: type[DeclarativeBase]) -> Table:
    """The table of a model, for statements that bypass the ORM: its work around an INSERT or UPDATE costs more than the
    statement."""
    return cast(Table, model.__table__)


def insert_absent(session: Session, model: type[DeclarativeBase], row: Mapping[str, Any]) -> bool:
    """Insert a row, unless one with its key is there already, or comes at this moment; returns whether it was inserted.

    A transaction that inserts the same row meanwhile is waited for, where SELECT before INSERT would miss it.
    """
    table = table_of(model)
    insertion = INSERTS[session.get_bind().dialect.name](table).values(**row)
    return session.execute(insertion.on_conflict_do_nothing().returning(*table.primary_key)).first() is not None


def sqlite_url(file: Path) -> str:
    """URL of a SQLite file, whatever characters its path has."""
    return URL.create("sqlite", database=str(file)).render_as_string()


def sqlite_file(url: str) -> Path | None:
    """The file of a URL of SQLite; None for a database server, and for one in memory.

    Raises:
        ValueError: it is no URL of a database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError(str(error)) from None
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def reason_of(error: Exception) -> str:
    """Why a statement failed, in a line: the database's own words, without the statement."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]


class Database:
    """One database with its connection pool.

    Safe to use from several threads. SQLite has one writer at a time; the others wait for it, BUSY_TIMEOUT_SECONDS at
    most.
    After a restart of PostgreSQL the first use of the pool fails, and the pool then reconnects. Callers retry, as a
    worker does with any 5xx. That is cheaper than a ping before each transaction.
    """

    def __init__(self, url: str, silent_seconds: float = 30) -> None:
        """Prepare the engine; the first connection is made on first use. `url` is an SQLAlchemy URL.

        `silent_seconds`: PostgreSQL ends a transaction that has been idle for this long. A controller that froze or was
        cut off within one would otherwise hold its locks, the leader's row among them, for hours.
        """
        self.url = make_url(url)
        if self.url.get_backend_name() == "sqlite":
            self.engine = _sqlite_engine(self.url)
        else:
            self.url = self.url.set(drivername="postgresql+psycopg")
            self.engine = _postgres_engine(self.url, silent_seconds)
        # Each statement of PostgreSQL sees what is committed by then, in a transaction or not: without one, two of
        # three messages to the server are saved.
        reading = {"readonly": True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._reader = self.engine.execution_options(**reading)
        self._make_session: Callable[..., Session] = Session

    @property
    def is_sqlite(self) -> bool:
        """Whether the tables lie in a SQLite file."""
        return self.engine.dialect.name == "sqlite"

    def with_sessions(self, make_session: Callable[..., Session]) -> "Database":
        """The same database with sessions of another class; connections are shared."""
        other = copy.copy(self)
        other._make_session = make_session
        return other

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in one transaction, committed at the end, rolled back on any exception."""
        with self._make_session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading; it never waits for a writer, and changes to its objects are discarded."""
        with self._make_session(self._reader, expire_on_commit=False, autoflush=False) as session:
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _postgres_engine(url: URL, silent_seconds: float) -> Engine:
    patience = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    engine = create_engine(
        url, hide_parameters=True, connect_args=patience, pool_size=10, max_overflow=10, pool_timeout=30
    )

    @event.listens_for(engine, "connect")
    def limit_silence(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # By a statement, because connection poolers refuse such options at connect time.
        cursor = connection.cursor()
        cursor.execute(f"SET idle_in_transaction_session_timeout = {round(silent_seconds * 1000)}")
        cursor.close()
        connection.commit()

    return engine


def _sqlite_engine(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ValueError(f"database_url: expected a file for SQLite, got {url.render_as_string()!r}")
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, pool_size=20, max_overflow=20
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, below
    # SQLite's own knows the letters of ASCII alone.
    connection.create_function("lower", 1, lambda text: text and text.lower(), deterministic=True)
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail at once when another writes between: take the lock now.
    readonly = connection.get_execution_options().get("readonly", False)
    connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")
