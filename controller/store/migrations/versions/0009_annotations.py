"""Notes, tags, the archive, and the data set of an experiment as a column, by which lists choose."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    for table in ("searches", "trials"):
        op.add_column(table, sa.Column("note", sa.Text(), nullable=False, server_default=sa.text("''")))
        op.add_column(table, sa.Column("tags", sa.JSON()))
    op.add_column("searches", sa.Column("archived_at", sa.Float()))
    op.add_column("searches", sa.Column("dataset", sa.Text()))
    searches = sa.table("searches", sa.column("id"), sa.column("dataset"), sa.column("spec", sa.JSON))
    connection = op.get_bind()
    for search_id, spec in connection.execute(sa.select(searches.c.id, searches.c.spec)).all():
        statement = sa.update(searches).where(searches.c.id == search_id)
        connection.execute(statement.values(dataset=_name_dataset(spec)))


def _name_dataset(spec: Any) -> str | None:
    """A file of an experiment is brought up to date before it is checked, so this takes anything."""
    dataset = spec.get("dataset", {}) if isinstance(spec, dict) else None
    name = dataset.get("name", "digits") if isinstance(dataset, dict) else None
    return name if isinstance(name, str) else None
