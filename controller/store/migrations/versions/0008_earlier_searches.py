"""What a search takes from earlier ones: fixed when it is created, whatever becomes of them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("searches", sa.Column("earlier", sa.JSON(none_as_null=True), nullable=True))
