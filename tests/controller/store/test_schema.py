import json
import threading
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, insert, inspect, select, text

from paploss.client.specs import ComparisonSpec, TrainingSpec
from paploss.controller.store import schema
from paploss.controller.store.database import Database, table_of
from paploss.controller.store.documents import SPEC
from paploss.controller.store.errors import SchemaError
from paploss.controller.store.tables import Base, Experiment, Trial


def test_models_and_migrations_agree(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_partial_indices_are_those_of_the_models(database: Database) -> None:
    # Alembic does not compare an index's condition.
    inspector = inspect(database.engine)
    dialect = database.engine.dialect.name
    for table in Base.metadata.sorted_tables:
        found = {row["name"]: row.get("dialect_options", {}) for row in inspector.get_indexes(table.name)}
        for index in table.indexes:
            wanted = index.dialect_options[dialect]["where"]
            condition = found[index.name].get(f"{dialect}_where")
            assert (wanted is None) == (condition is None), index.name
            if wanted is not None:
                assert "".join(str(wanted).split()) in _plain(str(condition)), index.name


def _plain(condition: str) -> str:
    for noise in ("(", ")", "::text", " ", "\n"):
        condition = condition.replace(noise, "")
    return condition


def test_an_upgrade_may_be_repeated(database: Database) -> None:
    schema.upgrade(database)
    schema.check(database)


def test_an_empty_database_is_refused_until_it_is_upgraded(database_url: str) -> None:
    database = Database(database_url)
    with pytest.raises(SchemaError, match="empty is older"):
        schema.check(database)
    schema.upgrade(database)
    schema.check(database)
    database.close()


def test_a_database_of_a_newer_schema_is_refused_and_left_alone(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for act in (schema.check, schema.upgrade):
        with pytest.raises(SchemaError, match="9999 is newer than this program"):
            act(database)


def test_comparisons_from_before_the_check_of_learning_rates_keep_having_none(database_url: str) -> None:
    database = Database(database_url)
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        spec = {"kind": "compare", "profile": "synthetic", "losses": [{"label": "start", "preset": "identity"}]}
        for row_id, kind in (("t1", "training"), ("s1", "search")):
            connection.execute(
                text(
                    "INSERT INTO searches (id, kind, name, owner, state, stage, reason, spec, profile, gpus, priority, "
                    "round, next_number, created_at) VALUES (:id, :kind, '', 'ann', 'running', 'trainings', '', :spec, "
                    "'synthetic', 0, 0, 0, 1, 0)"
                ),
                {"id": row_id, "kind": kind, "spec": json.dumps(spec)},
            )
    schema.upgrade(database)
    with database.read() as session:
        compared = SPEC.read(session.get_one(Experiment, "t1").spec)
        assert isinstance(compared, ComparisonSpec)
        assert compared.learning_rates == ()
        assert "learning_rates" not in session.get_one(Experiment, "s1").spec
    database.close()


_OLD_ROWS: dict[str, dict[str, Any]] = {
    "searches": {"id": "old", "kind": "training", "name": "", "owner": "ann", "state": "running", "stage": "trainings"}
    | {"reason": "", "profile": "synthetic", "gpus": 0, "priority": 0, "round": 0, "next_number": 1, "created_at": 1.0}
    | {"spec": {"profile": "synthetic", "losses": [{"label": "start", "preset": "identity"}]}},
    "rounds": {"search_id": "old", "number": 0, "mu": [0.5], "sigma": 0.2, "proposed": 1, "created_at": 1.0},
    "trials": {"id": "old-000000", "search_id": "old", "number": 0, "kind": "compare", "label": "start", "seed": 0}
    | {"state": "succeeded", "attempt": 1, "failed_attempts": 0, "preemptions": 0, "iteration": 20, "reward": 0.25}
    | {"diverged": False, "created_at": 1.0, "finished_at": 3.0},
    "attempts": {"trial_id": "old-000000", "number": 1, "claim_id": "c", "token": "t", "worker": "w", "host": "h"}
    | {"device": "cpu", "environment": {"torch": "2"}, "resumed_iteration": 0, "claimed_at": 1.0, "log_tail": "end"}
    | {"outcome": "succeeded", "answer": "succeeded"},
    "evaluations": {"trial_id": "old-000000", "iteration": 20, "total_iterations": 20, "ap": 0.25, "metrics": {}}
    | {"at": 2.0},
    "late_results": {"id": 1, "trial_id": "old-000000", "attempt": 1, "result": {"outcome": "succeeded"}, "at": 4.0},
    "events": {"id": 1, "search_id": "old", "kind": "experiment_started", "level": "info", "message": "", "at": 1.0},
    "workers": {"name": "w", "host": "h", "gpus": 1, "device": "cpu", "versions": {}}
    | {"first_seen_at": 1.0, "last_seen_at": 2.0},
    "api_keys": {"name": "ann", "role": "user", "digest": "d", "created_at": 1.0},
    "sign_ins": {"digest": "s", "key_name": "ann", "purpose": "session", "expires_at": 9e9},
    "access_tokens": {"id": "t", "key_name": "ann", "name": "laptop", "role": "user", "digest": "e"}
    | {"created_at": 1.0, "expires_at": 9e9},
    "idempotency_keys": {"owner": "ann", "key": "k", "fingerprint": "f", "search_id": "old", "created_at": 1.0},
    "deleted_searches": {"id": "gone", "deleted_at": 1.0},
}
"""A row of every table, with what its first program gave it; later programs add columns."""


OLDER = [f"{number:04}" for number in range(1, 16)]


@pytest.mark.parametrize("revision", OLDER)
def test_data_of_every_older_schema_is_upgraded(database_url: str, revision: str) -> None:
    database = Database(database_url)
    schema.upgrade(database, revision)
    then = MetaData()
    then.reflect(database.engine)
    with database.engine.begin() as connection:
        rows = {table: row for table, row in _OLD_ROWS.items() if table in then.tables}
        for table, row in rows.items():
            connection.execute(insert(then.tables[table]).values(row))
    schema.upgrade(database)
    schema.check(database)
    with database.read() as session:
        for model in Base.__subclasses__():
            if (row := rows.get(model.__tablename__)) is not None:
                found = session.scalars(select(model)).one()
                kept = row.keys() - {"spec"}  # which later versions complete
                keys = {column.name: column.key for column in table_of(model).c}
                assert {name: getattr(found, keys[name]) for name in kept} == {name: row[name] for name in kept}
        assert isinstance(SPEC.read(session.get_one(Experiment, "old").spec), TrainingSpec)
        assert session.get_one(Trial, "old-000000").learning_rate_factor == 1.0
    database.close()


def test_a_migration_gives_way_to_requests_that_are_served_meanwhile(postgres_url: str) -> None:
    """They take the same tables in another order; whoever waits longest, PostgreSQL ends one of the two."""
    database, serving = Database(postgres_url), Database(postgres_url)
    schema.upgrade(database, "0005")
    migration = threading.Thread(target=schema.upgrade, args=(database,))
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'")
    with serving.write() as session:
        session.execute(text("LOCK TABLE trials IN ROW EXCLUSIVE MODE"))
        migration.start()
        while not session.execute(waits).scalar_one():
            assert migration.is_alive()
        assert session.execute(text("SELECT count(*) FROM searches")).scalar_one() == 0
    migration.join()
    schema.check(database)
    database.close()
    serving.close()


def test_every_schema_but_the_newest_is_upgraded_by_a_test() -> None:
    versions = {path.name[:4] for path in (schema.MIGRATIONS / "versions").glob("[0-9]*.py")}
    assert max(versions) == schema.newest()
    assert sorted(versions - {schema.newest()}) == OLDER
