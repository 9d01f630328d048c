"""What lists show is a column, an algorithm's state is its own, and a trial carries what it trains with.

Nothing that version 0.1.0 reads or writes is removed, so that its replicas work on these tables during an upgrade.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("searches", sa.Column("rounds", sa.Integer()))
    op.add_column("searches", sa.Column("planned", sa.Integer()))
    op.add_column("trials", sa.Column("plan", sa.JSON()))
    op.add_column("trials", sa.Column("derived_from", sa.String(64)))
    op.add_column("attempts", sa.Column("warnings", sa.JSON()))
    with op.batch_alter_table("rounds") as rounds:
        rounds.add_column(sa.Column("state", sa.JSON()))
        rounds.alter_column("mu", existing_type=sa.JSON(), nullable=True)
        rounds.alter_column("sigma", existing_type=sa.Float(), nullable=True)
    _fill_in()


def _fill_in() -> None:
    names = ("id", "kind", "rounds", "planned")
    searches = sa.table("searches", *(sa.column(name) for name in names), sa.column("spec", sa.JSON))
    connection = op.get_bind()
    for search_id, kind, spec in connection.execute(sa.select(searches.c.id, searches.c.kind, searches.c.spec)).all():
        values = _describe_search(spec) if kind == "search" else _describe_trainings(spec)
        connection.execute(sa.update(searches).where(searches.c.id == search_id).values(**values))


def _describe_search(spec: dict[str, Any]) -> dict[str, Any]:
    confirm = {"candidates": 3, "seeds": 3, "published": False} | spec.get("confirm", {})
    confirmed = confirm["candidates"] + 1 + confirm["published"]  # and the identity
    rounds, trials = spec.get("rounds", 40), spec.get("trials_per_round", 8)
    return {"rounds": rounds, "planned": rounds * trials + confirmed * confirm["seeds"]}


def _describe_trainings(spec: dict[str, Any]) -> dict[str, Any]:
    trainings = len(spec.get("seeds", [0])) + len(spec.get("learning_rates", []))
    kind = "comparison" if spec.get("kind") == "compare" else "training"
    return {"kind": kind, "planned": len(spec.get("losses", [])) * trainings}
