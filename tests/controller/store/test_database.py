import threading
import time

import pytest
from scenarios import add_search
from sqlalchemy import select, text
from sqlalchemy.exc import InternalError, OperationalError

from paploss.controller.store import leadership, schema
from paploss.controller.store.database import Database, now, read_clock
from paploss.controller.store.tables import Experiment


def test_the_clock_is_unix_time_with_fractions(database: Database) -> None:
    with database.read() as session:
        assert abs(read_clock(session) - time.time()) < 5
        assert session.execute(select(now() + 1.5 > now() + 1.25)).scalar_one()


def test_the_clock_moves_within_a_transaction(database: Database) -> None:
    with database.write() as session:
        before = read_clock(session)
        time.sleep(0.01)
        assert read_clock(session) > before


def test_an_error_rolls_everything_back(database: Database) -> None:
    made = add_search(database)

    def fail() -> None:
        with database.write() as session:
            session.get_one(Experiment, made.id).name = "changed"
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.read() as session:
        assert session.get_one(Experiment, made.id).name == ""


def test_writers_wait_for_each_other_and_lose_nothing(database: Database) -> None:
    made = add_search(database)

    def count_up() -> None:
        for _ in range(20):
            with database.write() as session:
                row = session.scalars(select(Experiment).where(Experiment.id == made.id).with_for_update()).one()
                row.round += 1

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.get_one(Experiment, made.id).round == 80


def test_a_reader_does_not_wait_for_a_writer(database: Database) -> None:
    made = add_search(database)
    with database.write() as writer:
        writer.get_one(Experiment, made.id).name = "changed"
        writer.flush()
        with database.read() as reader:
            assert reader.get_one(Experiment, made.id).name == ""


def test_after_its_connections_were_cut_a_pool_fails_once_and_then_works(postgres_url: str) -> None:
    database, other = Database(postgres_url), Database(postgres_url)
    cut = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> :own"
    )
    with database.read() as first, database.read() as second:  # two connections in the pool
        read_clock(first)
        read_clock(second)
    with other.read() as session:
        session.execute(cut, {"own": session.execute(text("SELECT pg_backend_pid()")).scalar_one()})
    with pytest.raises(OperationalError), database.read() as session:
        read_clock(session)
    for _ in range(3):
        with database.read() as session:
            read_clock(session)
    database.close()
    other.close()


def test_a_transaction_whose_client_falls_silent_is_ended_and_its_locks_are_free(postgres_url: str) -> None:
    frozen, other = Database(postgres_url, silent_seconds=0.2), Database(postgres_url)
    schema.upgrade(other)
    with frozen.write() as holder, other.write() as successor:
        leadership.acquire(holder, "frozen", 60)
        assert leadership.acquire(successor, "other", 60) is not None  # waits until the server has ended the first
        with pytest.raises(InternalError, match="idle-in-transaction"):
            read_clock(holder)
        holder.rollback()
    frozen.close()
    other.close()


def test_sqlite_keeps_a_write_ahead_log_and_checks_foreign_keys(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.read() as session:
        assert session.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert session.execute(text("PRAGMA foreign_keys")).scalar_one() == 1
    database.close()


def test_a_sqlite_database_in_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="database_url: expected a file"):
        Database("sqlite://")
