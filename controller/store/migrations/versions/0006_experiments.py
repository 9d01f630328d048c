"""What lists show is a column, an algorithm's state is its own, and a trial carries what it trains with.

Nothing that version 0.1.0 reads or writes is taken away, so that its replicas work on these tables during an upgrade.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("searches", sa.Column("rounds", sa.Integer()))
    op.add_column("searches", sa.Column("planned", sa.Integer()))
    op.add_column("trials", sa.Column("plan", sa.JSON()))
    op.add_column("trials", sa.Column("derived_from", sa.String(64)))
    with op.batch_alter_table("rounds") as rounds:
        rounds.add_column(sa.Column("state", sa.JSON()))
        rounds.alter_column("mu", existing_type=sa.JSON(), nullable=True)
        rounds.alter_column("sigma", existing_type=sa.Float(), nullable=True)
    _fill_in()


def _fill_in() -> None:
    searches = sa.table(
        "searches",
        *(sa.column(name) for name in ("id", "kind", "rounds", "planned")),
        sa.column("spec", sa.JSON),
    )
    connection = op.get_bind()
    for search_id, kind, spec in connection.execute(sa.select(searches.c.id, searches.c.kind, searches.c.spec)).all():
        values: dict[str, object]
        if kind == "search":
            confirm = spec["confirm"]
            confirmed = confirm["candidates"] + 1 + confirm["published"]  # and the identity
            planned = spec["rounds"] * spec["trials_per_round"] + confirmed * confirm["seeds"]
            values = {"rounds": spec["rounds"], "planned": planned}
        else:
            trainings = len(spec["seeds"]) + len(spec["learning_rates"])
            is_comparison = spec["kind"] == "compare"
            values = {"kind": "comparison" if is_comparison else kind, "planned": len(spec["losses"]) * trainings}
        connection.execute(sa.update(searches).where(searches.c.id == search_id).values(**values))
