"""Workers tell how their GPUs are used; attempts are found by worker and time."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:

    op.add_column("workers", sa.Column("gpu_use", sa.JSON(none_as_null=True), nullable=True))
    op.create_index("ix_attempts_worker", "attempts", ["worker", "claimed_at"])
