"""Personal access tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "access_tokens",
        sa.Column("id", sa.String(12), nullable=False),
        sa.Column("key_name", sa.String(100), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["key_name"], ["api_keys.name"], ondelete="CASCADE"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("key_name", "name"),
    )
