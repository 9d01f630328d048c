"""Subscriptions, the outbox of their notifications, and what the leader has told of each experiment."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "watch_states",
        sa.Column("experiment_id", sa.String(32), sa.ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("best_reward", sa.Float()),
        sa.Column("stalled_at", sa.Float()),
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text()),
        sa.Column("experiment_id", sa.String(32), sa.ForeignKey("searches.id", ondelete="CASCADE")),
        sa.Column("occasions", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
    op.create_index("ix_subscriptions_experiment", "subscriptions", ["experiment_id"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column(
            "subscription_id", sa.String(16), sa.ForeignKey("subscriptions.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("occasion", sa.String(16), nullable=False),
        sa.Column("notice", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float()),
    )
    op.create_index("ix_deliveries_subscription", "deliveries", ["subscription_id", "created_at"])
    waiting = sa.text("state = 'waiting'")
    op.create_index("ix_deliveries_waiting", "deliveries", ["due_at"], postgresql_where=waiting, sqlite_where=waiting)
