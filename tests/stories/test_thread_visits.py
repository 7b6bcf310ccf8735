"""How often a request visits a thread. A visit costs as much as what a route declares; counts, never times."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
import pytest
from tests.rig.client import server_body
from tests.rig.in_process import Fleet

from pinfold.api import endpoint_call, threads


def test_a_create_a_listing_and_a_read_visit_a_thread_once_each(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.host("c1")
    flavor = fleet.flavor("tiny", vcpus=1)
    vm = fleet.create("vm1", flavor)
    visits = []

    async def counted(call: Any, *arguments: Any, **options: Any) -> Any:
        visits.append(call)
        return await threads.in_thread(call, *arguments, **options)

    monkeypatch.setattr(endpoint_call, "in_thread", counted)
    monkeypatch.setattr(anyio.to_thread, "run_sync", None)
    body = {"server": server_body("vm2", flavor)}
    for method, path, more, status in (
        ("POST", "/servers", body, 202),
        ("GET", f"/servers/{vm}", None, 200),
        ("GET", "/servers/detail?limit=5", None, 200),
    ):
        visits.clear()
        fleet.ask(method, path, more, status=status)
        assert len(visits) == 1, (method, path)
