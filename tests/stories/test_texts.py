"""Texts that one database takes more easily than another: names of four-byte characters, on each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.rig.client import COMPUTE as C
from tests.rig.client import compute
from tests.rig.databases import database, embedded, placement_file, postgresql, postgresql_url, sqlite_file
from tests.rig.in_process import ADMIN, Fleet, InProcess, make_services

from pinfold.accounting.embedded import Embedded
from pinfold.api.app import create_app
from pinfold.store.database import Database

__all__ = ["database", "embedded", "placement_file", "postgresql", "postgresql_url", "sqlite_file"]


@pytest.fixture
def fleet(database: Database, embedded: Embedded, tmp_path: Path) -> Iterator[Fleet]:
    """The application on either database, with a host and a flavor."""
    images = tmp_path / "images"
    images.mkdir()
    services = make_services(database, embedded, images)
    with httpx.Client(transport=InProcess(create_app(services)), base_url="http://pinfold.test", auth=ADMIN, timeout=None) as http:
        made = Fleet(http=http, services=services, database=database, images=images)
        made.host("c1")
        made.flavor("tiny", vcpus=1)
        yield made


WIDE = "𝄞😀" * 127
"""Characters of four bytes each, as many as a name may have, less one."""


def test_names_of_four_byte_characters_come_back_as_they_were(fleet: Fleet) -> None:
    server = fleet.create(WIDE, "tiny", metadata={"a": WIDE}, description=WIDE, tags=["😀"])
    shown = fleet.show(server)
    assert (shown["name"], shown["metadata"], shown["description"], shown["tags"]) == (WIDE, {"a": WIDE}, WIDE, ["😀"])
    made = fleet.ask("POST", "/flavors", {"flavor": {"name": WIDE, "vcpus": 1, "ram": 1, "disk": 0, "description": WIDE}}, status=200)
    assert made.json()["flavor"]["name"] == WIDE
    group = fleet.ask("POST", "/os-aggregates", {"aggregate": {"name": WIDE, "availability_zone": "𝄞"}}, status=200).json()["aggregate"]
    fleet.ask("POST", f"/os-aggregates/{group['id']}/action", {"set_metadata": {"metadata": {"𝄞": WIDE}}}, status=200)
    assert [one["id"] for one in fleet.ask("GET", "/servers?name=%F0%9D%84%9E", status=200).json()["servers"]] == [server]
    assert fleet.ask("GET", "/servers/detail?tags=%F0%9F%98%80", status=200).json()["servers"][0]["id"] == server


def test_a_nul_never_reaches_the_database(fleet: Fleet) -> None:
    for body in (b'{"flavor": {"name": "a\\u0000", "vcpus": 1, "ram": 1, "disk": 0}}', '{"flavor": {"name": "a\\u0000"}}'.encode("utf-16")):
        answer = fleet.http.post(f"{C}/flavors", content=body, headers=compute() | {"Content-Type": "application/json"})
        assert answer.status_code == 400
    for path in ("/servers?name=%00", "/servers?uuid=%00", "/flavors/%00", "/servers?marker=%00"):
        assert fleet.ask("GET", path).status_code == 400
