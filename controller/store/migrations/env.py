"""Alembic's entry: runs the migrations on the connection that `paploss.controller.store.schema` passes."""

from alembic import context

from paploss.controller.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=context.config.attributes["connection"].dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
