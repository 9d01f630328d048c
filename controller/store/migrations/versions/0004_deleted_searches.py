"""What was deleted is remembered by its id, so that its files in the workers' state folder may be deleted too."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "deleted_searches",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("deleted_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
