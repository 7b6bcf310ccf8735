"""Quotas, limits and usage with the real client, whose token comes from a Keystone: this one is a stand-in at Keystone's HTTP boundary."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.real.clients.conftest import Rig
from tests.rig.keystone_stand_in import KeystoneStandIn, authtoken, keystone_stand_in
from tests.rig.openstack import answer
from tests.rig.served import served

from pinfold.api.app import create_app
from pinfold.api.keystone import KeystoneTokens
from pinfold.config.keystone import keystone_conf


@pytest.fixture
def keystone(rig: Rig, tmp_path: Path) -> Iterator[KeystoneStandIn]:
    """A Keystone whose catalogue names a service with the fleet of the rig."""
    with keystone_stand_in({"ada": {"red": "admin"}, "mia": {"red": "member"}}) as made:
        (tmp_path / "pinfold.conf").write_text(authtoken(made.url))
        tokens = KeystoneTokens(keystone_conf([str(tmp_path / "pinfold.conf")]))
        with served(create_app(dataclasses.replace(rig.fleet.services, tokens=tokens))) as url:
            made.catalogue = url
            yield made
        tokens.close()


def openstack(keystone: KeystoneStandIn, user: str, *lines: str, home: Path) -> list[tuple[int, Any, str]]:
    """Commands of the real client as a user types them in the project `red`: of each its status, its output and its errors."""
    return [answer(line, keystone.variables(user, "red") | {"HOME": str(home)}) for line in lines]


def test_an_admin_sets_a_quota_and_a_member_meets_it(rig: Rig, keystone: KeystoneStandIn, tmp_path: Path) -> None:
    rig.fleet.flavor("f.quota", vcpus=1)
    put, absolute = openstack(
        keystone, "ada", "quota set --instances 0 --cores 8 --ram 4096 red", "limits show --absolute -f json", home=tmp_path
    )
    assert put[0] == 0, put
    assert {row["Name"]: row["Value"] for row in absolute[1]}["max_total_cores"] == 8
    used, refused, everywhere = openstack(
        keystone,
        "mia",
        "quota show --usage -f json",
        "server create --flavor f.quota --image probe --no-network q1",
        "server list --all-projects",
        home=tmp_path,
    )
    counted = {row["Resource"]: (row["Limit"], row["In Use"]) for row in used[1]}
    assert (counted["instances"], counted["cores"], counted["ram"], counted["ports"]) == ((0, 0), (8, 0), (4096, 0), (-1, 0))
    assert refused[0] == 1 and "Quota exceeded for instances: Requested 1, but already used 0 of 0 instances" in refused[2]
    assert everywhere[0] == 1 and "Policy doesn't allow os_compute_api:servers:detail:get_all_tenants to be performed" in everywhere[2]
    rig.fleet.ask("DELETE", "/os-quota-sets/id-red", status=202)
    rig.fleet.ask("DELETE", "/flavors/f.quota", status=202)


def test_a_member_sees_what_its_project_used_and_an_admin_what_each_did(rig: Rig, keystone: KeystoneStandIn, tmp_path: Path) -> None:
    rig.fleet.flavor("f.used", vcpus=2)
    nothing, made, shown, deleted = openstack(
        keystone,
        "mia",
        "usage show -f json",
        "server create --flavor f.used --image probe --no-network --wait used",
        "usage show -f json",
        "server delete --wait used",
        home=tmp_path,
    )
    assert [code for code, _, _ in (nothing, made, shown, deleted)] == [0, 0, 0, 0], (nothing, made, shown, deleted)
    assert nothing[1]["CPU Hours"] is None
    used = shown[1]
    assert (used["Project"], [one["name"] for one in used["Servers"]]) == ("id-red", ["used"]) and used["CPU Hours"] > 0
    named, table = openstack(keystone, "ada", "usage show --project red -f json", "usage show --project red", home=tmp_path)
    assert named[1]["CPU Hours"] >= used["CPU Hours"], named
    assert "on project id-red" in table[1] and "RAM MB-Hours" in table[1]
    rig.fleet.ask("DELETE", "/flavors/f.used", status=202)
