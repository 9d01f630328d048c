"""Listening, and starting over what is not there."""

from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from paploss.controller.api.app import create_app
from paploss.controller.api.server import AddressError, bind
from paploss.controller.settings import Settings
from paploss.controller.store.database import Database
from paploss.controller.store.errors import SchemaError
from paploss.controller.store.schema import upgrade
from paploss.jobs.queue import QueueError


def test_a_busy_port_is_named() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=f"port {port} on 127.0.0.1 is in use"):
            bind("127.0.0.1", port)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(AddressError, match=r"cannot listen on 203\.0\.113\.1, port 80"):
        bind("203.0.113.1", 80)


def test_without_redis_nothing_starts(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(QueueError, match=f"127.0.0.1:{port}"):
        create_app(Settings(state_dir=tmp_path, redis_url=f"redis://127.0.0.1:{port}/0"))


def test_without_the_database_nothing_starts(tmp_path: Path, redis_url: str) -> None:
    url = f"postgresql+psycopg://nobody@/nothing?host={tmp_path}"
    with pytest.raises(OperationalError):
        create_app(Settings(state_dir=tmp_path, database_url=url, redis_url=redis_url))


def test_a_newer_schema_is_refused(tmp_path: Path, sqlite_url: str, redis_url: str) -> None:
    database = Database(sqlite_url)
    upgrade(database)
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(SchemaError, match="newer"):
        create_app(Settings(state_dir=tmp_path, database_url=sqlite_url, redis_url=redis_url))
