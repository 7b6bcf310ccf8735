"""The commands of the upgrade page for PostgreSQL: the backup that they make brings the database back."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.build.rows import add_host
from tests.postgres import PostgreSQL, binaries

from pinfold.store import hosts
from pinfold.store.database import Database, upgrade

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "upgrade.md"


@pytest.mark.real_postgresql
def test_what_the_page_backs_up_comes_back_as_it_was(postgresql: PostgreSQL, tmp_path: Path) -> None:
    blocks = [
        block
        for block in re.findall(r"^```\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        if "postgres " in block
    ]
    assert ["pg_dump" in block for block in blocks] == [True, False]
    for name in ("pinfold", "placement"):
        _type("createdb " + name, postgresql, tmp_path)
    url = postgresql.url("pinfold")
    database = Database(url)
    upgrade(database)
    add_host(database, "c01")
    database.close()
    _type(blocks[0], postgresql, tmp_path)
    assert (tmp_path / "pinfold.dump").stat().st_mode & 0o777 == 0o600
    database = Database(url)
    add_host(database, "c02")
    database.close()
    _type(blocks[1], postgresql, tmp_path)
    database = Database(url)
    upgrade(database)
    with database.read() as connection:
        assert [host.name for host in hosts.all(connection)] == ["c01"]
    database.close()
    for name in ("pinfold", "placement"):
        _type("dropdb " + name, postgresql, tmp_path)


def _type(commands: str, server: PostgreSQL, folder: Path) -> None:
    """Run what the page says, as the role of this server in place of the user `postgres`, and with the backups in `folder`."""
    programs = binaries()
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGUSER": "pinfold",
    }
    typed = commands.replace("sudo -u postgres ", "").replace("/var/backups", str(folder))
    done = subprocess.run(["bash", "-euc", typed], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
