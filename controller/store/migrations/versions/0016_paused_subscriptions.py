"""Subscriptions can be paused."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("paused_at", sa.Float()))
