"""The families: which recorded questions give which answers. What the answers are made of is the adapter's affair."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import uuid
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree

from tests.replay import adapter
from tests.replay.recording import Answers, Names, read_answers, read_text
from tests.replay.story import HALF_WAY, Transcript, lasting_ids, names, tell
from tests.rig.in_process import ADMIN, Fleet
from tests.stories.test_server_commands import clouds, served

DOMAINS = 400
SERVICE_COMMANDS = (
    "host list",
    "server list",
    "server show share",
    "server show nowhere",
    "server show moved",
    "flavor list",
    "flavor show mixed",
    "fit share",
    "fit large",
    "server stop running",
    "server start stopped",
    "server reboot --hard mixed",
    "server rebook share",
    "server create new --flavor tiny --image probe --host c1",
    "server delete building",
    "flavor create extra --vcpus 2 --ram 64 -p hw:cpu_policy=dedicated",
    "flavor set extra -p hw:numa_nodes=1",
    "flavor delete extra",
    "host add c9",
    "host add c9 --renew",
    "host fence c5 --powered-off",
    "host remove c9",
)


def hosts() -> list[Any]:
    """The recorded hosts, each with the requests that are put to it."""
    return [json.loads(line) for line in read_text("questions.jsonl").splitlines()]


def fits() -> Answers:
    """Each request on its host: the fit, or the reasons."""
    found: Answers = {}
    for number, plain in enumerate(hosts()):
        host = adapter.Host.read(plain)
        for index, request in enumerate(plain["requests"]):
            found[f"{number}/{index}"] = host.answer(request)
    return found


def domains(recorded: Answers) -> Answers:
    """The domain XML of some of the requests that fit by the recorded answers, one of each host."""
    found: Answers = {}
    for number, plain in enumerate(hosts()):
        fitting = [index for index in range(len(plain["requests"])) if adapter.accepted(recorded[f"{number}/{index}"])]
        if fitting and len(found) < DOMAINS:
            index = fitting[number % len(fitting)]
            found[f"{number}/{index}"] = adapter.Host.read(plain).domain(plain["requests"][index], number)
    return found


def domains_read(recorded: Answers) -> Answers:
    """What today's code reads in the recorded domains."""
    return {case: adapter.read_domain(xml) for case, xml in recorded.items()}


def documents(folder: Path) -> Answers:
    """The `--json` documents of the commands that need no service, on hosts that hold still."""
    found: Answers = {"doctor": adapter.doctor()}
    for host in still_hosts():
        (folder / "pinfold.conf").write_text(host["config"].replace("FOLDER", str(folder)))
        (folder / "flavors.toml").write_text(host["flavors"])
        (folder / "a.rom").write_bytes(b"\0" * 64)
        known = Names({str(folder): "FOLDER", **_guest_names(host["domains"])})
        with patch.dict(os.environ, {"PINFOLD_CONFIG": str(folder / "pinfold.conf"), "COLUMNS": "120"}):
            for line in host["commands"]:
                found[f"{host['name']}: {line}"] = known(adapter.command(host, line.replace("FOLDER", str(folder)).split()))
    return found


def _guest_names(domains: list[Any]) -> dict[str, str]:
    """The names of guests by their ids."""
    roots = [ElementTree.fromstring(domain["xml"]) for domain in domains]
    return {root.findtext("uuid", ""): f"<guest {root.findtext('name')}>" for root in roots}


def still_hosts() -> list[Any]:
    """The recorded hosts that hold still, with their configuration, domains, threads and command lines."""
    found: list[Any] = json.loads(read_text("still.json"))
    return found


def messages() -> Answers:
    """What an agent sends of a host, and what it understands of the recorded answers of the service."""
    said = read_answers("story")
    orders = [one["answer"] for case, one in said.items() if "GET /agent/v1/orders" in case and one["answer"].get("orders")]
    welcome = next(one["answer"] for case, one in said.items() if "PUT /agent/v1/host" in case)
    first = still_hosts()[0]
    return adapter.agent_messages(first, with_ids(welcome), _nested(with_ids(max(orders, key=lambda one: len(one["orders"])))))


def _nested(orders: Any) -> Any:
    """Recorded orders with the parts of their claims as today's service writes them. An agent refuses those of an earlier service."""
    for order in orders["orders"]:
        revision = order.pop("revision")
        claim = {"id": order["claim"], "revision": revision, "held": revision, "fit": order.pop("fit"), "amounts": {}}
        order["claim"] = claim | {"state": "held", "role": "runs"}
    return orders


def messages_read(recorded: Answers) -> Answers:
    """What today's service understands of the recorded messages of agents."""
    sent = {case: body for case, body in recorded.items() if case.startswith(("PUT /agent/v1/host", "POST /agent/v1/guests"))}
    return {case: adapter.service_reads(case.split()[1], body) for case, body in sent.items()}


def service(fleet: Fleet, folder: Path) -> tuple[Answers, Answers]:
    """Every exchange of the story over HTTP, and the `--json` documents of the commands that ask the service at its end."""
    with lasting_ids():
        transcript = Transcript(fleet.http)
        made = tell(fleet)
        known = names(fleet, made)
        said = transcript.answers(Names(known))
        with served(fleet) as url:
            file, config = folder / "clouds.yaml", folder / "service.conf"
            file.write_text(clouds(url, ADMIN[1]))
            config.write_text("")
            with patch.dict(os.environ, {"OS_CLIENT_CONFIG_FILE": str(file), "PINFOLD_CONFIG": str(config), "COLUMNS": "120"}):
                told = {line: adapter.command(None, [*line.split(), "--json"]) for line in SERVICE_COMMANDS}
    return said, Names({url: "URL", **known})(told)


def with_states(fleet: Fleet) -> None:
    """The story, and claims left half-way: what databases are recorded of."""
    with lasting_ids():
        made = tell(fleet)
        adapter.leave_claims_half_way(fleet.database, {state: made[state] for state in HALF_WAY})
        adapter.lengthen_leases(fleet.database)


def sqlite_read(folder: Path) -> Answers:
    """What is read of the recorded SQLite file."""
    return adapter.read_database(recorded_sqlite(folder))


def recorded_sqlite(folder: Path) -> str:
    """The address of the recorded SQLite file, written into the folder."""
    path = folder / "recorded.db"
    connection = sqlite3.connect(path)
    connection.executescript(read_text("sqlite.sql"))
    connection.close()
    return f"sqlite:///{path}"


def postgresql_read(url: str) -> Answers:
    """What is read of the recorded PostgreSQL dump, in an empty database at that address."""
    return adapter.read_database(recorded_postgresql(url))


def recorded_postgresql(url: str) -> str:
    """The address of an empty database, with the recorded PostgreSQL dump in it from now on."""
    import psycopg2
    import sqlalchemy as sa

    parsed = sa.make_url(url)
    connection = psycopg2.connect(host=parsed.host, port=parsed.port, user=parsed.username, dbname=parsed.database)
    with connection, connection.cursor() as cursor:
        cursor.execute(read_text("postgresql.sql"))
    connection.close()
    return url


def with_ids(value: Any) -> Any:
    """A recorded answer with real ids in place of the names of ids, so that an agent takes it."""
    text = json.dumps(value).replace('"<digest>"', f'"{"0" * 64}"').replace('"<time>"', "0.0")
    return json.loads(re.sub(r"<(?:id|host|server)[^>]*>", lambda match: str(uuid.uuid5(uuid.NAMESPACE_OID, match[0])), text))
