"""`GET /servers?name=` takes a regular expression, as Nova's does, and nobody can keep the API busy with one."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from tests.rig.client import compute
from tests.rig.in_process import Fleet

NAMES = ("vm1", "vm2", "vm10", "web.1", "web-1", "Ünï-𝄞", "VM3")


@pytest.fixture
def named(fleet: Fleet) -> Fleet:
    fleet.host("c1")
    fleet.flavor("tiny", vcpus=1)
    for name in NAMES:
        fleet.create(name, "tiny")
    return fleet


def found(fleet: Fleet, expression: str, more: str = "") -> list[str]:
    answer = fleet.ask("GET", f"/servers/detail?name={quote(expression, safe='')}{more}", status=200)
    return [server["name"] for server in answer.json()["servers"]]


_FOUND = {
    "vm": {"vm1", "vm2", "vm10"},
    "^vm.$": {"vm1", "vm2"},
    "vm1$": {"vm1"},
    "web.1": {"web.1", "web-1"},
    r"web\.1": {"web.1"},
    "(?i)^vm[0-9]$": {"vm1", "vm2", "VM3"},
    "1|2": {"vm1", "vm2", "vm10", "web.1", "web-1"},
    "𝄞": {"Ünï-𝄞"},
    r"^\pL+-.$": {"web-1", "Ünï-𝄞"},
    "%": set(),
    "": set(NAMES),
}


def test_an_expression_finds_the_names_that_hold_it(named: Fleet) -> None:
    for expression, names in _FOUND.items():
        assert set(found(named, expression)) == names, expression


def test_pages_and_sort_keys_hold_with_an_expression(named: Fleet) -> None:
    newest = found(named, "1")
    for more in ("", "&sort_key=display_name&sort_dir=asc"):
        whole = found(named, "1", more)
        path: str | None = f"http://pinfold.test/compute/v2.1/servers/detail?name=1&limit=2{more}"
        seen: list[str] = []
        while path:
            answer = named.http.get(path, headers=compute())
            seen += [server["name"] for server in answer.json()["servers"]]
            path = next((link["href"] for link in answer.json().get("servers_links", ())), None)
        assert seen == whole
        assert sorted(whole) == sorted(newest)
    assert found(named, "1", "&sort_key=display_name&sort_dir=asc") == ["vm1", "vm10", "web-1", "web.1"]


def test_a_marker_that_the_expression_does_not_find_still_says_where_to_go_on(named: Fleet) -> None:
    ids = {server["name"]: server["id"] for server in named.ask("GET", "/servers").json()["servers"]}
    assert found(named, "^w", f"&marker={ids['vm2']}") == []
    assert found(named, "^vm", f"&marker={ids['vm2']}") == ["vm1"]
    assert found(named, "^w", f"&sort_key=display_name&sort_dir=asc&marker={ids['vm2']}") == ["web-1", "web.1"]
    assert found(named, "^v", f"&sort_key=display_name&sort_dir=desc&marker={ids['web.1']}") == ["vm2", "vm10", "vm1"]


@pytest.mark.parametrize("expression", ["[", "(", "*", "a{2,1}", r"(a)\1", "(?=a)", "a" * 1025, "(.{0,900}){1,9}"])
def test_what_is_no_expression_is_refused_in_novas_words(named: Fleet, expression: str) -> None:
    asked = quote(expression, safe="")
    answer = named.ask("GET", f"/servers?name={asked}", status=400)
    assert "'regex'" in answer.json()["badRequest"]["message"]
    assert answer.json()["badRequest"]["message"].startswith("Invalid input for query parameters name. Value: ")
    assert len(answer.text) < 500


def test_an_expression_that_would_keep_pythons_own_engine_busy_for_years_is_answered_at_once(named: Fleet) -> None:
    named.create("x" * 255, "tiny")
    began = time.process_time()
    assert found(named, "^(x+x+)+y$") == []
    assert time.process_time() - began < 60.0
