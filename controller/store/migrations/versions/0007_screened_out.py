"""How many losses each version of a search's algorithm has left out before its trials."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("rounds", sa.Column("screened_out", sa.Integer(), nullable=False, server_default=sa.text("0")))
