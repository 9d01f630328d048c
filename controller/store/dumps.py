"""One experiment as a file, with everything that belongs to it, to be loaded into any database of this program.

    gzip of JSON lines:   {"paploss": "search", "schema": "0005", "search": "0kx..."}
                          {"table": "searches", "row": {...}}     then rounds, trials, attempts, ... in order

Columns have their names in the database. Only the log's and the late results' ids are new after loading: they count
over all searches of a database. A file of an older schema goes through the migrations, in a scratch database.
"""

import gzip
import json
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import groupby, islice
from pathlib import Path
from typing import IO, Annotated, Any, get_args, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, create_model
from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, Select, delete, insert, null, select
from sqlalchemy.exc import DataError, IntegrityError, StatementError
from sqlalchemy.orm import Session

from paploss.client.states import FINAL_EXPERIMENT_STATES
from paploss.controller.data_roots import check_paths
from paploss.controller.store import schema
from paploss.controller.store.database import Database, sqlite_url, table_of
from paploss.controller.store.documents import LOSS, METRICS, OUTCOME, PLAN, RESULT, SPEC
from paploss.controller.store.errors import ConflictError, DumpError
from paploss.controller.store.reading.lists import get_experiment
from paploss.controller.store.tables import (
    Attempt,
    Base,
    DeletedExperiment,
    Evaluation,
    Event,
    Experiment,
    LateResult,
    Round,
    Trial,
)
from paploss.jobs.documents import Schema, UnreadableError
from paploss.jobs.ids import experiment_of, number_of

MODELS: Sequence[type[Base]] = (Experiment, Round, Trial, Attempt, Evaluation, LateResult, Event)
"""What belongs to an experiment, in an order in which nothing refers to what comes later."""
_BY_TABLE = {model.__tablename__: model for model in MODELS}
_NUMBERED = (LateResult, Event)
"""Tables whose ids mean nothing outside their database."""
_LONGEST_LINE_BYTES = 50_000_000
_ROWS_AT_ONCE = 500
_LATEST = 253402300799.0
"""The end of the year 9999, in seconds since 1970: what Python can show."""
_DOCUMENTS: Mapping[tuple[str, str], Schema[Any]] = {
    ("searches", "spec"): SPEC,
    ("searches", "best"): OUTCOME,
    ("trials", "loss"): LOSS,
    ("trials", "plan"): PLAN,
    ("trials", "metrics"): METRICS,
    ("evaluations", "metrics"): METRICS,
    ("late_results", "result"): RESULT,
}
"""What the pages read of a row, by table and column."""

Row = tuple[str, dict[str, Any]]
"""Table and values by column."""


def dump(database: Database, experiment_id: str, file: IO[bytes]) -> None:
    """Write an experiment, as it is at one moment, to `file`.

    Raises:
        NotFoundError: no such experiment.
    """
    with database.read() as session, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=5, mtime=0) as packed:
        if not database.is_sqlite:  # SQLite shows one transaction one moment by itself
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        get_experiment(session, experiment_id)
        _write(packed, {"paploss": "search", "schema": schema.newest(), "search": experiment_id})
        for model in MODELS:
            for row in session.execute(_rows_of(model, experiment_id), execution_options={"yield_per": _ROWS_AT_ONCE}):
                _write(packed, {"table": model.__tablename__, "row": dict(row._mapping)})


def load(database: Database, file: IO[bytes], data_roots: Sequence[Path]) -> str:
    """Store the experiment of a file, all of it or nothing; returns its id.

    One that had not ended is paused: it may be running elsewhere. What was running there is queued again once its lease
    is over, and a result that its worker still delivers here counts, as after any silence of a controller.

    Raises:
        ConflictError: there is an experiment of this id.
        DumpError: the file is damaged, no dump, or of a newer program; names the line.
        PathRefusedError: one that is to go on names a path outside `data_roots`.
    """
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as packed:
            experiment_id, revision = _read_header(packed)
            rows = _read_rows(packed)
            if revision == schema.newest():
                return _store(database, experiment_id, rows, data_roots)
            with tempfile.TemporaryDirectory(prefix="paploss-load-") as folder:
                return _store(database, experiment_id, _migrated(rows, revision, Path(folder)), data_roots)
    except (OSError, EOFError, zlib.error) as error:
        raise DumpError(f"the file cannot be unpacked: {error}") from error
    except (DataError, IntegrityError, StatementError, OverflowError) as error:
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        raise DumpError(f"a row cannot be stored: {reason}") from error


def _columns(model: type[Base]) -> list[Column[Any]]:
    return [column for column in table_of(model).c if not (model in _NUMBERED and column.primary_key)]


def _all_rows(model: type[Base]) -> Select[Any]:
    return select(*_columns(model)).order_by(*table_of(model).primary_key.columns)


def _rows_of(model: type[Base], experiment_id: str) -> Select[Any]:
    table, query = table_of(model), _all_rows(model)
    if model is Experiment:
        return query.where(table.c.id == experiment_id)
    if "experiment_id" in table.c:
        return query.where(table.c.experiment_id == experiment_id)
    return query.where(table.c.trial_id.in_(select(Trial.id).where(Trial.experiment_id == experiment_id)))


def _write(file: gzip.GzipFile, line: dict[str, Any]) -> None:
    file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")


def _read_header(file: gzip.GzipFile) -> tuple[str, str]:
    header = _parse(1, file.readline(_LONGEST_LINE_BYTES))
    if header.get("paploss") != "search" or not all(isinstance(header.get(key), str) for key in ("schema", "search")):
        raise DumpError("line 1: expected the first line of a file that `paploss dump` wrote")
    if not schema.is_known(header["schema"]):
        raise DumpError(
            f"line 1: schema {header['schema']} is newer than this program ({schema.newest()}); use the newer program"
        )
    return header["search"], header["schema"]


def _read_rows(file: gzip.GzipFile) -> Iterator[Row]:
    number = 1
    while content := file.readline(_LONGEST_LINE_BYTES):
        number += 1
        line = _parse(number, content)
        if line.get("table") not in _BY_TABLE or not isinstance(line.get("row"), dict):
            raise DumpError(f"line {number}: expected a row of {', '.join(_BY_TABLE)}")
        yield line["table"], line["row"]


def _parse(number: int, content: bytes) -> dict[str, Any]:
    try:
        line = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DumpError(f"line {number}: not JSON, or longer than {_LONGEST_LINE_BYTES} bytes: {error}") from error
    if not isinstance(line, dict):
        raise DumpError(f"line {number}: expected an object")
    return line


def _store(database: Database, experiment_id: str, rows: Iterator[Row], data_roots: Sequence[Path]) -> str:
    with database.write() as session:
        if session.get(Experiment, experiment_id) is not None:
            raise ConflictError(f"there is an experiment {experiment_id} already")
        session.execute(delete(DeletedExperiment).where(DeletedExperiment.id == experiment_id))
        _store_experiment(session, experiment_id, rows, data_roots)
        while batch := list(islice(rows, _ROWS_AT_ONCE)):
            for (table, _), group in groupby(batch, key=lambda row: (row[0], tuple(row[1]))):
                checked = [_check(experiment_id, table, values) for _, values in group]
                session.execute(insert(table_of(_BY_TABLE[table])), [_by_key(table, values) for values in checked])
    return experiment_id


def _store_experiment(session: Session, experiment_id: str, rows: Iterator[Row], data_roots: Sequence[Path]) -> None:
    table, row = next(rows, ("", {}))
    if table != "searches":
        raise DumpError("expected the row of the experiment first")
    values = _check(experiment_id, table, row)
    if values["state"] not in FINAL_EXPERIMENT_STATES:
        check_paths(SPEC.read(values["spec"]), data_roots)
        values["state"] = "paused"
    session.execute(insert(table_of(Experiment)), _by_key("searches", values))


def _check(experiment_id: str, table: str, row: dict[str, Any]) -> dict[str, Any]:
    """The values of a row, with the types that the models say: SQLite would store any."""
    try:
        values = _model_of(table).model_validate(row).model_dump(exclude_unset=True)
    except ValidationError as error:
        fault = error.errors()[0]
        raise DumpError(f"{table}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error
    _check_documents(table, values)
    trial_id = values.get("id") if table == "trials" else values.get("trial_id")
    owner = values["id"] if table == "searches" else values.get("search_id", experiment_id)
    if owner != experiment_id or (trial_id is not None and not _is_its_trial(experiment_id, trial_id)):
        raise DumpError(f"{table}: a row belongs to another experiment than {experiment_id}")
    return values


def _check_documents(table: str, values: dict[str, Any]) -> None:
    """Refuse what the pages could not show: an unreadable document, or a number that JSON does not have."""
    try:
        json.dumps(values, allow_nan=False)
    except ValueError as error:
        raise DumpError(f"{table}: expected finite numbers: {error}") from error
    for (of, name), document in _DOCUMENTS.items():
        if of == table and values.get(name) is not None:
            try:
                document.read(values[name])
            except UnreadableError as error:
                raise DumpError(f"{table}: {name}: {error}") from error


def _is_its_trial(experiment_id: str, trial_id: str) -> bool:
    try:
        return experiment_of(trial_id) == experiment_id and number_of(trial_id) >= 0
    except ValueError:
        return False


def _by_key(table: str, values: dict[str, Any]) -> dict[str, Any]:
    """Values by the columns' keys in the models; a file has the names in the database."""
    columns = table_of(_BY_TABLE[table]).c
    keys = {column.name: column.key for column in columns}
    return {keys[name]: value for name, value in values.items()}


@cache
def _model_of(table: str) -> type[BaseModel]:
    """The rows of a table as their model declares them; what may be left out has a default in the database."""
    model = _BY_TABLE[table]
    hints = get_type_hints(model)
    fields: dict[str, Any] = {}
    for column in _columns(model):
        (kind,) = get_args(hints[column.key])
        default = None if column.default is not None or column.nullable else ...
        fields[column.name] = (_bounded(kind, column), default)
    return create_model(table, __config__=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False), **fields)


def _bounded(kind: Any, column: Column[Any]) -> Any:
    """The type within what PostgreSQL and the pages can hold; SQLite would store anything."""
    if isinstance(column.type, Float) and column.name.endswith(("at", "lease_until")):
        return Annotated[kind, AfterValidator(partial(_check_range, 0, _LATEST))]
    if isinstance(column.type, Integer) and not isinstance(column.type, BigInteger):
        return Annotated[kind, AfterValidator(partial(_check_range, -(2**31), 2**31 - 1))]
    return kind


def _check_range(lowest: float, highest: float, value: float | None) -> float | None:
    if value is not None and not lowest <= value <= highest:
        raise ValueError(f"expected a number from {lowest} to {highest}")
    return value


def _migrated(rows: Iterator[Row], revision: str, folder: Path) -> Iterator[Row]:
    """The rows after the migrations since `revision`."""
    scratch = Database(sqlite_url(folder / "scratch.db"))
    try:
        schema.upgrade(scratch, revision)
        then = MetaData()
        then.reflect(scratch.engine)
        with scratch.write() as session:
            for table, row in rows:
                known = then.tables[table].c
                if unknown := row.keys() - known.keys():
                    raise DumpError(f"{table}: schema {revision} has no columns {', '.join(sorted(unknown))}")
                values = {name: null() if value is None else value for name, value in row.items()}
                session.execute(insert(then.tables[table]).values(values))
        schema.upgrade(scratch)
        with scratch.read() as session:
            for model in MODELS:
                for found in session.execute(_all_rows(model)):
                    yield model.__tablename__, dict(found._mapping)
    finally:
        scratch.close()
