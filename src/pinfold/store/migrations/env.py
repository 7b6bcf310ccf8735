"""Alembic's environment: run the migrations on the connection that `store.database.upgrade` passes in."""

from alembic import context

from pinfold.store.schema import metadata


def run() -> None:
    """Run the migrations that Alembic selected."""
    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


# Only Alembic runs this file with a context; an ordinary import has none.
if hasattr(context, "config"):
    run()
