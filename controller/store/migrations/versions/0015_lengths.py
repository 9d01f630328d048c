"""Trials may train a share of their schedule, and each may be carried on by one longer trial."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    length = sa.Column("length", sa.Float(), nullable=False, server_default=sa.text("1.0"))
    op.add_column("trials", length)
    derived = sa.text("derived_from IS NOT NULL")
    op.create_index(
        "ix_trials_derived",
        "trials",
        ["search_id", "derived_from"],
        unique=True,
        postgresql_where=derived,
        sqlite_where=derived,
    )
