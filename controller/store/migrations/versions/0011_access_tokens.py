"""Personal access tokens, and people whom an identity provider vouches for."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


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
    op.add_column("api_keys", sa.Column("subject", sa.String(64)))
    op.create_index("ix_api_keys_subject", "api_keys", ["subject"], unique=True)
