"""The fields of workers' messages in statements: parameters of one step, or, on PostgreSQL, the rows of many steps.

A condition or a value that is written over them fits into a statement of either kind.
"""

import json
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from sqlalchemy import JSON, ColumnElement, Text, bindparam, cast, column, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.selectable import TableValuedAlias

OBJECT = JSON(none_as_null=True)
_PREFIX = "field_"  # SQLAlchemy reserves the names of a table's columns for itself


class Fields:
    """The fields of one kind of step, by name."""

    def __init__(self, **types: Any) -> None:
        """`types`: SQLAlchemy's, of each field; `OBJECT` for JSON."""
        self._types = types

    def parameters(self) -> SimpleNamespace:
        """Each field as a parameter, to be given by `one`."""
        return SimpleNamespace(**{name: bindparam(_PREFIX + name, type_=kind) for name, kind in self._types.items()})

    def rows(self) -> tuple[TableValuedAlias, SimpleNamespace]:
        """A table with a row for each step, to be given by `many`, and each field as its column."""
        sent = {name: Text if kind is OBJECT else kind for name, kind in self._types.items()}
        arrays = [bindparam(_PREFIX + name, type_=ARRAY(kind)) for name, kind in sent.items()]
        columns = [column(name, kind) for name, kind in sent.items()]
        table = func.unnest(*arrays).table_valued(*columns).render_derived()
        fields: dict[str, ColumnElement[Any]] = {
            name: cast(table.c[name], OBJECT) if kind is OBJECT else table.c[name] for name, kind in self._types.items()
        }
        return table, SimpleNamespace(**fields)

    def one(self, **values: Any) -> dict[str, Any]:
        """What a statement over `parameters` is executed with."""
        return {_PREFIX + name: values[name] for name in self._types}

    def many(self, steps: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """What a statement over `rows` is executed with."""
        given = list(steps)
        return {
            _PREFIX + name: [_written(each[name]) if kind is OBJECT else each[name] for each in given]
            for name, kind in self._types.items()
        }


def _written(value: Any) -> str | None:
    return None if value is None else json.dumps(value)
