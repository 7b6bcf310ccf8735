"""`python -m tests.replay.record`: record today's answers in place of those in `recorded/`, on purpose.

Do this when the recorded code is to be another commit: then `differences.DIFFERENCES` begins empty again. A change of behaviour alone is no
reason; it is one more entry in that list.

`--new-questions` makes the questions anew first (hosts, requests, domains); `--only NAME` records one family or dump alone. The PostgreSQL
dump needs PostgreSQL's programs, `pg_dump` among them. The whole takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace
from tests.postgres import PostgreSQL, binaries
from tests.replay import families, questions
from tests.replay.recording import Answers, read_answers, write_answers, write_text
from tests.rig.in_process import AT_ONCE, Fleet, fleet_on, open_fleet

from pinfold.accounting.embedded import Embedded, EmbeddedPlacement, load, unload
from pinfold.scheduler.model import HostStrategy
from pinfold.store.database import Database, upgrade

NOVA = Path(__file__).parents[1] / "nova" / "domains.jsonl"


def main() -> None:
    """Record what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.replay.record", description="Record today's answers, on purpose.")
    parser.add_argument("--new-questions", action="store_true")
    parser.add_argument("--only", action="append", choices=[*FAMILIES, *DUMPS], help="record this one alone; may be given again")
    options = parser.parse_args()
    os.umask(0o022)
    if options.new_questions:
        questions.make_questions()
        lines = NOVA.read_text(encoding="utf-8").splitlines()[1:]
        questions.make_still([json.loads(line)["xml"] for line in lines[:60:6]])
    for name, dump in DUMPS.items():
        if not options.only or name in options.only:
            dump()
    for name, answers in FAMILIES.items():
        if not options.only or name in options.only:
            write_answers(name, answers())
            print(f"{name} is recorded")


def dump_sqlite() -> None:
    """The database of the story, as SQL."""
    with fleet() as made:
        families.with_states(made)
        connection = sqlite3.connect(made.database.engine.url.database or "")
        write_text("sqlite.sql", "\n".join(connection.iterdump()) + "\n")
        connection.close()


def dump_postgresql() -> None:
    """The same in PostgreSQL, as `pg_dump` writes it: statements alone, which any client executes, and nothing of its version."""
    server = PostgreSQL.start()
    try:
        url = server.create_database()
        database = Database(url)
        upgrade(database)
        with tempfile.TemporaryDirectory() as name, placement(Path(name)) as embedded:
            images = Path(name, "images")
            with fleet_on(database, embedded, images) as made:
                families.with_states(made)
        database.close()
        programs = binaries()
        assert programs is not None
        address = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "pinfold", url.rpartition("/")[2]]
        command = [str(programs / "pg_dump"), "--inserts", "--no-owner", "--no-privileges", *address]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        write_text("postgresql.sql", re.sub(r"(?m)^(\\(un)?restrict .*|SET transaction_timeout .*|--.*)\n", "", text))
    finally:
        server.stop()


@contextmanager
def placement(folder: Path) -> Iterator[Embedded]:
    """A real Placement on a fresh file."""
    yield load(EmbeddedPlacement(url=f"sqlite:///{folder}/placement.db"))
    unload()


SPREAD = replace(AT_ONCE, strategy=HostStrategy.SPREAD)
"""How hosts were chosen when the answers were recorded."""


@contextmanager
def fleet() -> Iterator[Fleet]:
    """The application of the stories in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = Database(f"sqlite:///{folder}/empty.db")
        upgrade(database)
        database.close()
        with placement(folder) as embedded, open_fleet(folder, folder / "empty.db", embedded, settings=SPREAD) as made:
            yield made


def _service(index: int) -> Answers:
    with fleet() as made, tempfile.TemporaryDirectory() as folder:
        return families.service(made, Path(folder))[index]


def _in_folder(answers: Callable[[Path], Answers]) -> Answers:
    with tempfile.TemporaryDirectory() as folder:
        return answers(Path(folder))


def _postgresql() -> Answers:
    server = PostgreSQL.start()
    try:
        return families.postgresql_read(server.create_database())
    finally:
        server.stop()


DUMPS: dict[str, Callable[[], None]] = {"sqlite.sql": dump_sqlite, "postgresql.sql": dump_postgresql}
FAMILIES: dict[str, Callable[[], Answers]] = {
    "fits": families.fits,
    "domains": lambda: families.domains(read_answers("fits")),
    "domains-read": lambda: families.domains_read(read_answers("domains")),
    "documents": lambda: _in_folder(families.documents),
    "story": lambda: _service(0),
    "service-documents": lambda: _service(1),
    "messages": families.messages,
    "messages-read": lambda: families.messages_read(read_answers("messages")),
    "sqlite-read": lambda: _in_folder(families.sqlite_read),
    "postgresql-read": _postgresql,
}

if __name__ == "__main__":
    main()
