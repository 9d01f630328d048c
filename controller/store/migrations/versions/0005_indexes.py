"""What trials have measured on their way is found for a claim without a look at each of them; a worker's row, written
with each renewal, has no index beside its key."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    midway = sa.text("iteration < total_iterations")
    op.create_index("ix_evaluations_midway", "evaluations", ["trial_id"], postgresql_where=midway, sqlite_where=midway)
    op.drop_index(op.f("ix_workers_last_seen_at"), table_name="workers")
