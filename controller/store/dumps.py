"""One experiment as a file, with everything that belongs to it, to be loaded into any database of this program.

    gzip of JSON lines:   {"paploss": "search", "schema": "0005", "search": "0kx..."}
                          {"table": "searches", "row": {...}}     then rounds, trials, attempts, ... in order

Columns have their names in the database. Only the log's and the late results' ids are new after loading: they count
over all searches of a database. A file is read into a scratch database first, where a file of an older schema goes
through the migrations, and where everything is checked: the platform's own database is written to only to copy rows.
"""

import gzip
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby, islice
from pathlib import Path
from typing import IO, Any

from sqlalchemy import JSON, MetaData, Select, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError
from sqlalchemy.orm import Session

from paploss.client.states import FINAL_EXPERIMENT_STATES
from paploss.controller.data_roots import check_paths, narrow
from paploss.controller.store import schema
from paploss.controller.store.database import Database, reason_of, sqlite_url, table_of
from paploss.controller.store.documents import SPEC
from paploss.controller.store.dump_lines import read_lines, write_line
from paploss.controller.store.dump_rows import BY_TABLE, MODELS, check_row, columns_of
from paploss.controller.store.errors import ConflictError, DumpError
from paploss.controller.store.projects import hold_project
from paploss.controller.store.reading.lists import get_experiment
from paploss.controller.store.tables import Base, DeletedExperiment, Experiment, Project, Trial

_ROWS_AT_ONCE = 500

Row = tuple[str, dict[str, Any]]
"""Table and values by column."""
TryViews = Callable[[Database, str], None]
"""Builds what shows an experiment of a database, and raises a DumpError where that fails."""


def dump(database: Database, experiment_id: str, file: IO[bytes]) -> None:
    """Write an experiment, as it is at one moment, to `file`.

    Raises:
        NotFoundError: no such experiment.
    """
    with database.read() as session, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=5, mtime=0) as packed:
        if not database.is_sqlite:  # SQLite shows one transaction one moment by itself
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        get_experiment(session, experiment_id)
        write_line(packed, {"paploss": "search", "schema": schema.newest(), "search": experiment_id})
        for model in MODELS:
            for row in session.execute(_its_rows(model, experiment_id), execution_options={"yield_per": _ROWS_AT_ONCE}):
                write_line(packed, {"table": model.__tablename__, "row": dict(row._mapping)})


def load(
    database: Database,
    file: IO[bytes],
    data_roots: Sequence[Path],
    *,
    most_bytes: int,
    try_views: TryViews,
    project: str | None = None,
) -> str:
    """Store the experiment of a file, all of it or nothing; returns its id. `most_bytes`: of the file, unpacked.

    It belongs to `project`, or to that of the name that the file has; files of older versions have the default one.

    One that had not ended is paused: it may be running elsewhere. What was running there is queued again once its lease
    is over, and a result that its worker still delivers here counts, as after any silence of a controller.

    Raises:
        ConflictError: there is an experiment of this id.
        DumpError: the file is damaged, too large, no dump, or of a newer program, or it cannot be shown; names the line
            or the column. Or there is no such project.
        PathRefusedError: one that is to go on names a path outside `data_roots`, or outside those of its project.
    """
    try:
        with (
            tempfile.TemporaryDirectory(prefix="paploss-load-") as folder,
            closing(Database(sqlite_url(Path(folder) / "scratch.db"))) as scratch,
        ):
            experiment_id = _unpack(scratch, file, most_bytes)
            with scratch.write() as session, database.read() as here:
                its_project = _move(session, here, experiment_id, project)
                _pause(session, narrow(data_roots, its_project.data_roots))
            with scratch.read() as session:
                for table, row in _every_row(session):
                    check_row(experiment_id, table, row)
            try_views(scratch, experiment_id)
            _copy(scratch, database, experiment_id, its_project.name)
    except OperationalError:  # the database does not answer, or the disk is full
        raise
    except (StatementError, OverflowError, UnicodeEncodeError) as error:
        raise DumpError(f"a row cannot be stored: {reason_of(error)}") from error
    return experiment_id


def rows_of(session: Session, model: type[Base]) -> Iterable[Base]:
    """All rows of a table, of however many."""
    return session.scalars(select(model), execution_options={"yield_per": _ROWS_AT_ONCE})


def _its_rows(model: type[Base], experiment_id: str) -> Select[Any]:
    table, query = table_of(model), _all_rows(model)
    if model is Experiment:
        return query.where(table.c.id == experiment_id)
    if "experiment_id" in table.c:
        return query.where(table.c.experiment_id == experiment_id)
    return query.where(table.c.trial_id.in_(select(Trial.id).where(Trial.experiment_id == experiment_id)))


def _all_rows(model: type[Base]) -> Select[Any]:
    return select(*columns_of(model)).order_by(*table_of(model).primary_key.columns)


def _every_row(session: Session) -> Iterator[Row]:
    for model in MODELS:
        for row in session.execute(_all_rows(model), execution_options={"yield_per": _ROWS_AT_ONCE}):
            yield model.__tablename__, dict(row._mapping)


def _unpack(scratch: Database, file: IO[bytes], most_bytes: int) -> str:
    """Store a file's rows in an empty database, and bring them to this program's schema; returns the header's id."""
    lines = read_lines(file, most_bytes)
    _, header = next(lines, (0, {}))
    if header.get("paploss") != "search" or not all(isinstance(header.get(key), str) for key in ("schema", "search")):
        raise DumpError("line 1: expected the first line of a file that `paploss dump` wrote")
    revision, experiment_id = str(header["schema"]), str(header["search"])
    if not schema.is_known(revision):
        raise DumpError(f"line 1: schema {revision} is newer than this program ({schema.newest()}); use the newer one")
    schema.upgrade(scratch, revision)
    with scratch.write() as session:
        _store(session, _tables_of(scratch), lines)
    schema.upgrade(scratch)
    return experiment_id


def _tables_of(database: Database) -> MetaData:
    """The tables as they are, of whichever schema."""
    found = MetaData()
    found.reflect(database.engine)
    for column in (column for table in found.tables.values() for column in table.c):
        if isinstance(column.type, JSON):
            column.type = JSON(none_as_null=True)
    return found


def _store(session: Session, tables: MetaData, lines: Iterator[tuple[int, dict[str, Any]]]) -> None:
    rows = (_read_row(tables, *line) for line in lines)
    first = next(rows, None)
    if first is None or first[0] != Experiment.__tablename__:
        raise DumpError("expected the row of the experiment first")
    session.execute(insert(tables.tables[first[0]]), first[1])
    while batch := list(islice(rows, _ROWS_AT_ONCE)):
        for (table, _), group in groupby(batch, key=lambda row: (row[0], tuple(row[1]))):
            session.execute(insert(tables.tables[table]), [values for _, values in group])


def _read_row(tables: MetaData, number: int, line: dict[str, Any]) -> Row:
    table, values = str(line.get("table")), line.get("row")
    if table not in BY_TABLE or not isinstance(values, dict):
        raise DumpError(f"line {number}: expected a row of {', '.join(BY_TABLE)}")
    if unknown := values.keys() - tables.tables[table].c.keys():
        raise DumpError(f"line {number}: {table} has no columns {', '.join(sorted(unknown))}")
    return table, values


def _move(session: Session, here: Session, experiment_id: str, project: str | None) -> Project:
    """Let an experiment belong to a project of the database that it is loaded into."""
    row = session.execute(_all_rows(Experiment)).first()
    assert row is not None  # noqa: S101 - the first row stored
    check_row(experiment_id, Experiment.__tablename__, dict(row._mapping))
    found = here.get(Project, project or row.project)
    if found is None:
        raise DumpError(f"there is no project {project or row.project!r} here; make it, or name another to load into")
    session.execute(update(table_of(Experiment)).values(project=found.name))
    return found


def _pause(session: Session, data_roots: Sequence[Path]) -> None:
    """Pause an experiment that has not ended, if it keeps to the data roots."""
    row = session.execute(_all_rows(Experiment)).one()
    if row.state not in FINAL_EXPERIMENT_STATES:
        check_paths(SPEC.read(row.spec), data_roots)
        session.execute(update(table_of(Experiment)).values(state="paused"))


def _copy(scratch: Database, database: Database, experiment_id: str, project: str) -> None:
    try:
        with database.write() as session:
            hold_project(session, project)
            _refuse_known(session, experiment_id)
            session.execute(delete(DeletedExperiment).where(DeletedExperiment.id == experiment_id))
            (_attach_rows if database.is_sqlite else _send_rows)(scratch, session)
    except IntegrityError:
        with database.read() as session:
            _refuse_known(session, experiment_id)  # another replica may have stored it meanwhile
        raise


def _refuse_known(session: Session, experiment_id: str) -> None:
    if session.get(Experiment, experiment_id) is not None:
        raise ConflictError(f"there is an experiment {experiment_id} already")


def _attach_rows(scratch: Database, session: Session) -> None:
    """Within SQLite, because everybody waits for its one writer."""
    session.connection().detach()  # closed afterwards, and with it the scratch file
    session.execute(text("ATTACH :file AS scratch"), {"file": scratch.url.database})
    for model in MODELS:
        keys = [column.key for column in columns_of(model)]
        there = table_of(model).to_metadata(MetaData(), schema="scratch")
        session.execute(insert(table_of(model)).from_select(keys, select(*(there.c[key] for key in keys))))


def _send_rows(scratch: Database, session: Session) -> None:
    with scratch.read() as rows:
        for model in MODELS:
            keys = [column.key for column in columns_of(model)]
            found = rows.execute(_all_rows(model), execution_options={"yield_per": _ROWS_AT_ONCE})
            for part in found.partitions():
                session.execute(insert(table_of(model)), [dict(zip(keys, row, strict=True)) for row in part])
