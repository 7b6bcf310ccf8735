"""`python -m tests.store.migrating URL [N]`: upgrade a database, and die before the Nth statement. Prints the number of statements."""

from __future__ import annotations

import os
import signal
import sys

import sqlalchemy as sa

from pinfold.store.database import Database, upgrade


def main() -> None:
    """Upgrade, or die."""
    url, last = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
    database = Database(url)
    executed = 0

    def count(*_: object) -> None:
        nonlocal executed
        executed += 1
        if executed == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(database.engine, "before_cursor_execute", count)
    upgrade(database)
    database.close()
    print(executed)


if __name__ == "__main__":
    main()
