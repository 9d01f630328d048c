"""What a row of an experiment's file may hold: types as the tables' models have them, within bounds.

SQLite would store anything in any column, and a value that no page can show would break the lists for everybody.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Final, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from sqlalchemy import BigInteger, Column, Float, Integer, String

from paploss.client.annotations import Tag
from paploss.client.start import EarlierSearch
from paploss.controller.store.database import table_of
from paploss.controller.store.documents import LOSS, METRICS, OUTCOME, PICTURES, PLAN, RESULT, SPEC, SUMMARY
from paploss.controller.store.errors import DumpError
from paploss.controller.store.tables import (
    Analysis,
    Attempt,
    Base,
    Evaluation,
    Event,
    Experiment,
    LateResult,
    Round,
    Thumbnail,
    Trial,
)
from paploss.jobs import thumbnails
from paploss.jobs.documents import Schema, UnreadableError, describe
from paploss.jobs.ids import experiment_of, number_of
from paploss.jobs.spec import PrunePoint

MODELS: Sequence[type[Base]] = (
    Experiment,
    Round,
    Trial,
    Attempt,
    Evaluation,
    Thumbnail,
    Analysis,
    LateResult,
    Event,
)
"""What belongs to an experiment, in an order in which nothing refers to what comes later."""
BY_TABLE: Final = {model.__tablename__: model for model in MODELS}
_NUMBERED = (LateResult, Event)
"""Tables whose ids mean nothing outside their database."""

_LATEST = 253402300799.0
"""The end of the year 9999, in seconds since 1970: what Python can show."""
_LONGEST_TEXT: Final = 20_000
"""Characters: a log's tail, the longest text that a worker may send."""
_Text = Annotated[str, Field(max_length=_LONGEST_TEXT)]
_Numbers = Annotated[list[float], Field(max_length=1000)]
_SPECIAL_TYPES: Mapping[str, Any] = {
    "environment": dict[_Text, _Text],
    "warnings": list[_Text] | None,
    "prune": list[PrunePoint] | None,
    "tags": Annotated[list[Tag], Field(max_length=20)] | None,
    "earlier": Annotated[list[EarlierSearch], Field(max_length=10)] | None,
    "theta": _Numbers | None,
    "mu": _Numbers | None,
    "jpeg": thumbnails.Thumbnail,
}
"""JSON columns, by name in the database, that are no documents; and texts that are not any text."""
_DOCUMENTS: Mapping[tuple[str, str], Schema[Any]] = {
    ("searches", "spec"): SPEC,
    ("searches", "best"): OUTCOME,
    ("trials", "loss"): LOSS,
    ("trials", "plan"): PLAN,
    ("trials", "metrics"): METRICS,
    ("evaluations", "metrics"): METRICS,
    ("analyses", "summary"): SUMMARY,
    ("analyses", "pictures"): PICTURES,
    ("late_results", "result"): RESULT,
}
"""What the pages read of a row, by table and column."""
_RANGES: Mapping[str, tuple[float, float]] = {
    "reward": (0, 1),
    "mean_reward": (0, 1),
    "best_reward": (0, 1),
    "ap": (-1, 1),
    "seconds": (0, 1e9),
    "learning_rate_factor": (0, 100),
    "length": (0, 1),
    "lease_until": (0, _LATEST),
    "at": (0, _LATEST),
    "priority": (-100, 100),
}
"""Of numbers, by column: what the messages that fill them allow. Other columns that end in `_at` are times too."""


def columns_of(model: type[Base]) -> list[Column[Any]]:
    """The columns that a file has, by their names in the database."""
    return [column for column in table_of(model).c if not (model in _NUMBERED and column.primary_key)]


def check_row(experiment_id: str, table: str, row: dict[str, Any]) -> None:
    """Refuse a row that this program could not have written for this experiment.

    Raises:
        DumpError: names the table and the column.
    """
    try:
        _model_of(table).model_validate(row)
    except ValidationError as error:
        raise DumpError(f"{table}: {describe(error)}") from error
    for (of, name), document in _DOCUMENTS.items():
        if of == table and row.get(name) is not None:
            try:
                document.read(row[name])
            except UnreadableError as error:
                raise DumpError(f"{table}: {name}: {error}") from error
    trial_id = row["id"] if table == "trials" else row.get("trial_id")
    owner = row["id"] if table == "searches" else row.get("search_id", experiment_id)
    related = [each for each in (trial_id, row.get("derived_from")) if each is not None]
    if owner != experiment_id or not all(_is_its_trial(experiment_id, each) for each in related):
        raise DumpError(f"{table}: a row belongs to another experiment than {experiment_id}")


def _is_its_trial(experiment_id: str, trial_id: str) -> bool:
    try:
        return experiment_of(trial_id) == experiment_id and number_of(trial_id) >= 0
    except ValueError:
        return False


@cache
def _model_of(table: str) -> type[BaseModel]:
    """The rows of a table as their model declares them."""
    model = BY_TABLE[table]
    hints = get_type_hints(model)
    fields: dict[str, Any] = {}
    for column in columns_of(model):
        (kind,) = get_args(hints[column.key])
        fields[column.name] = (_SPECIAL_TYPES.get(column.name, _bounded(kind, column)), ...)
    return create_model(table, __config__=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False), **fields)


def _bounded(kind: Any, column: Column[Any]) -> Any:
    """The type within what PostgreSQL and the pages can hold."""
    if isinstance(column.type, String):
        limits = Field(max_length=column.type.length or _LONGEST_TEXT)
    elif isinstance(column.type, Float | Integer):
        lowest, highest = _range_of(column)
        limits = Field(ge=lowest, le=highest)
    else:
        return kind
    bare = [each for each in get_args(kind) if each is not type(None)] if column.nullable else [kind]
    bounded = Annotated[bare[0], limits] if len(bare) == 1 and bare[0] in (str, int, float) else kind
    return bounded | None if column.nullable and bounded is not kind else bounded


def _range_of(column: Column[Any]) -> tuple[float, float]:
    if column.name in _RANGES:
        return _RANGES[column.name]
    if column.name.endswith("_at"):
        return 0, _LATEST
    if isinstance(column.type, BigInteger):
        return 0, 2**63 - 1
    return (0, 2**31 - 1) if isinstance(column.type, Integer) else (-1e39, 1e39)
