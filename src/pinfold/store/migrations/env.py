"""How Alembic runs our migrations: on the connection that `store.database.upgrade` hands over."""

from alembic import context

from pinfold.store.schema import metadata


def run() -> None:
    """Run what Alembic asked for."""
    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


# Alembic runs this file with a context; whoever else imports it has none.
if hasattr(context, "config"):
    run()
