"""Trials have a learning-rate factor; comparisons from before the learning-rate check keep having none."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:

    factor = sa.Column("learning_rate_factor", sa.Float(), nullable=False, server_default=sa.text("1.0"))
    op.add_column("trials", factor)
    searches = sa.table("searches", sa.column("id"), sa.column("kind"), sa.column("spec", sa.JSON))
    connection = op.get_bind()
    trainings = sa.select(searches.c.id, searches.c.spec).where(searches.c.kind == "training")
    for training_id, spec in connection.execute(trainings).all():
        unchecked = spec | {"learning_rates": []}
        connection.execute(sa.update(searches).where(searches.c.id == training_id).values(spec=unchecked))
