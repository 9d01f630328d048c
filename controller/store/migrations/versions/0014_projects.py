"""Projects, which separate users; all that there is belongs to the project `default`, administrators to none."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

DEFAULT = sa.text("'default'")


def upgrade() -> None:
    projects = op.create_table(
        "projects",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("data_roots", sa.JSON(), nullable=False),
        sa.Column("max_running_trials", sa.Integer()),
        sa.Column("gpu_hours", sa.Float()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.bulk_insert(projects, [{"name": "default", "data_roots": [], "created_at": time.time()}])
    # Without a foreign key: SQLite adds none to a table that has rows.
    op.add_column("searches", sa.Column("project", sa.String(63), nullable=False, server_default=DEFAULT))
    op.create_index("ix_searches_project", "searches", ["project", "id"])
    for table in ("api_keys", "subscriptions"):
        op.add_column(table, sa.Column("project", sa.String(63), server_default=DEFAULT))
    keys = sa.table("api_keys", sa.column("name"), sa.column("role"), sa.column("project"))
    subscriptions = sa.table("subscriptions", sa.column("owner"), sa.column("project"))
    is_for_all = keys.c.role.in_(("admin", "worker")) | (keys.c.name == "installed-viewer")
    op.execute(keys.update().where(is_for_all).values(project=None))
    owners = sa.select(keys.c.name).where(keys.c.project.is_(None))
    op.execute(subscriptions.update().where(subscriptions.c.owner.in_(owners)).values(project=None))
