"""Key pairs, user data and passwords reach the guest's config drive, and appear in no log, answer or file besides."""

from __future__ import annotations

import base64
import logging
from dataclasses import replace

import httpx
import pytest
from tests.rig.client import COMPUTE, compute, server_body
from tests.rig.in_process import ADMIN, Fleet, InProcess
from tests.stories.test_key_pairs import KEY

from pinfold.api.app import create_app
from pinfold.store import guest_configs
from pinfold.store.records import Observed

SECRET = b"the-secret-of-this-test-" * 64
USER_DATA = base64.b64encode(SECRET).decode()
PASSWORD = "correct-horse-of-this-test"


def test_with_novas_option_a_password_that_was_given_is_not_answered(fleet: Fleet) -> None:
    fleet.host("c1")
    body = {"server": server_body("vm", fleet.flavor("tiny", vcpus=1), adminPass=PASSWORD)}
    app = create_app(replace(fleet.services, shows_passwords=False))
    with httpx.Client(transport=InProcess(app), base_url="http://pinfold.test", auth=ADMIN, timeout=None) as http:
        answer = http.post(f"{COMPUTE}/servers", json=body, headers=compute())
    assert answer.status_code == 202 and PASSWORD not in answer.text


def test_what_a_server_is_given_reaches_its_own_agent_once_and_is_forgotten_when_it_runs(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    c1, c2 = fleet.host("c1"), fleet.host("c2")
    fleet.ask("POST", "/os-keypairs", {"keypair": {"name": "mine", "public_key": KEY}}, status=201)
    flavor = fleet.flavor("tiny", vcpus=1)
    given = {"key_name": "mine", "user_data": USER_DATA, "adminPass": PASSWORD, "metadata": {"a": "b"}}
    body = server_body("My VM", flavor, host="c1", **given)
    answer = fleet.ask("POST", "/servers", {"server": body}, status=202).json()["server"]
    assert answer["adminPass"] == PASSWORD
    server = answer["id"]

    shown = fleet.ask("GET", f"/servers/{server}", status=200)
    assert (shown.json()["server"]["key_name"], shown.json()["server"]["config_drive"]) == ("mine", "True")
    assert c1.order(server)["config_drive"] is True
    config = c1.ask("GET", f"/guests/{server}/config")
    assert config.json()["user_data"] == USER_DATA
    assert (config.json()["admin_pass"], config.json()["hostname"], config.json()["public_key"]) == (PASSWORD, "my-vm", KEY)
    assert c2.ask("GET", f"/guests/{server}/config").status_code == 404
    answers = [shown.text, c1.ask("GET", "/orders").text, *_answers(fleet, server)]

    c1.obey()
    assert c1.ask("GET", f"/guests/{server}/config").status_code == 404
    fleet.ask("DELETE", f"/servers/{server}", status=204)
    c1.obey()
    answers += [*_answers(fleet, server), caplog.text]
    assert not [text for text in answers if PASSWORD in text or USER_DATA in text]
    kept = b"".join(path.read_bytes() for path in fleet.images.parent.glob("pinfold.db*"))
    assert USER_DATA.encode() not in kept and USER_DATA[:64].encode() not in kept


def _answers(fleet: Fleet, server: str) -> list[str]:
    paths = ("/servers/detail", f"/servers/{server}", "/servers/detail?deleted=True")
    return [fleet.ask("GET", path).text for path in paths] + [fleet.http.get(f"/v1/servers/{server}/placement").text]


def test_a_server_that_never_runs_keeps_what_it_is_given_until_it_is_deleted(fleet: Fleet) -> None:
    c1, c2 = fleet.host("c1"), fleet.host("c2")
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1), user_data=USER_DATA, adminPass=PASSWORD)
    first, second = (c1, c2) if c1.orders()["orders"] else (c2, c1)
    order = first.order(server)
    first.gone(server, order["claim"]["revision"], "no such image", claim=order["claim"]["id"])
    assert second.ask("GET", f"/guests/{server}/config").json()["admin_pass"] == PASSWORD
    fleet.ask("DELETE", f"/servers/{server}", status=204)
    second.obey()
    with fleet.database.read() as connection:
        assert guest_configs.find(connection, server) is None


def test_a_report_of_another_state_than_running_forgets_nothing(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1), user_data=USER_DATA)
    order = c1.order(server)
    c1.says(server, Observed.PAUSED, revision=order["claim"]["revision"], claim=order["claim"]["id"])
    assert c1.ask("GET", f"/guests/{server}/config").status_code == 200


def test_a_config_drive_may_be_asked_for_and_by_an_image(fleet: Fleet) -> None:
    c1, flavor = fleet.host("c1"), fleet.flavor("tiny", vcpus=1)
    plain, asked = fleet.create("plain", flavor), fleet.create("asked", flavor, config_drive="true")
    (fleet.images / "probe.toml").write_text('img_config_drive = "mandatory"\n', encoding="ascii")
    by_image = fleet.create("by-image", flavor)
    assert [c1.order(server)["config_drive"] for server in (plain, asked, by_image)] == [False, True, True]
    listed = {query: {row["name"] for row in fleet.ask("GET", f"/servers?{query}").json()["servers"]} for query in _QUERIES}
    assert listed == {"config_drive=True": {"asked", "by-image"}, "config_drive=False": {"plain"}, "key_name=mine": set()}


_QUERIES = ("config_drive=True", "config_drive=False", "key_name=mine")


def test_each_of_several_servers_has_its_own_name(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    fleet.create("vm", fleet.flavor("tiny", vcpus=1), user_data=USER_DATA, min_count=2)
    configs = [c1.ask("GET", f"/guests/{order['guest']}/config").json() for order in c1.orders()["orders"]]
    found = sorted((config["name"], config["hostname"], config["launch_index"]) for config in configs)
    assert found == [("vm-1", "vm-1", 0), ("vm-2", "vm-2", 1)]


def test_each_of_several_servers_has_its_own_host_name(fleet: Fleet) -> None:
    fleet.host("c1")
    flavor = fleet.flavor("tiny", vcpus=1)
    fleet.create("My web", flavor, min_count=2)
    fleet.create("db", flavor, min_count=2, hostname="db.example.org")
    long = "a" * 63
    fleet.create("long", flavor, min_count=2, hostname=long)
    listed = fleet.ask("GET", "/servers/detail", status=200).json()["servers"]
    named = {server["name"]: server["OS-EXT-SRV-ATTR:hostname"] for server in listed}
    assert named == {
        "My web-1": "my-web-1",
        "My web-2": "my-web-2",
        "db-1": "db-1.example.org",
        "db-2": "db-2.example.org",
        "long-1": f"{long[:61]}-1",
        "long-2": f"{long[:61]}-2",
    }


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"flavorRef": None}, {"colour": "red"}, {"user_data": ["x"]}, {"adminPass": {"a": PASSWORD}}]
)
def test_a_refusal_never_shows_a_secret(standing_fleet: Fleet, wrong: dict[str, object]) -> None:
    given = {"adminPass": PASSWORD, "user_data": USER_DATA, **server_body("vm", "tiny"), **wrong}
    short = {"adminPass": PASSWORD}
    for body in ({"server": given}, {"server": short}, {"servers": short}, {"server": [short]}):
        answer = standing_fleet.ask("POST", "/servers", body, status=400)
        assert PASSWORD not in answer.text and USER_DATA[:16] not in answer.text, answer.text
