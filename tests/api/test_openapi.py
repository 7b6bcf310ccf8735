"""The OpenAPI document is true: every response has the declared status, headers and body, and none is a 5xx."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from tests.build.hosts import report
from tests.rig.databases import placement_file, sqlite_file
from tests.rig.in_process import Fleet, open_fleet
from tests.stories.test_key_pairs import KEY
from tests.stories.test_networks import LAN

from pinfold.accounting.embedded import EmbeddedPlacement, load, unload
from pinfold.api.app import ROUTERS
from pinfold.api.image.bodies import PATCH_TYPE
from pinfold.api.openapi import describe
from pinfold.core.encoding import encode, plain
from pinfold.core.guest_questions import Diagnostics, GuestAnswer
from pinfold.core.history import HostHistory
from pinfold.core.identity import HostId
from pinfold.core.networks import network_id
from pinfold.store import history

__all__ = ["placement_file", "sqlite_file"]

schemathesis.serializer.alias(PATCH_TYPE, "application/json")
_EXAMPLES = [8, pytest.param(16, marks=pytest.mark.slow)]
"""How many requests of each operation. The first eight hold right and wrong ones; most of the time goes to making them up."""
_CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
_NOT_OFFERED = 501
"""The one answer of 5xx that says what it means: what is asked for is no part of pinfold."""
_VERSIONS = ("2.1", "2.87", "2.96")
"""Microversions such that every Compute answer is there at one of them."""
_ELSEWHERE = {
    "/agent/v1/images/{name}": {"name": "probe"},
    "/compute/v2.1/os-keypairs/{name}": {"name": "key"},
    "/compute/v2.1/flavors/{flavor_id}/os-flavor-access": {"flavor_id": "hidden"},
    "/compute/v2.1/flavors/{flavor_id}/os-extra_specs/{key}": {"key": "hw:cpu_policy"},
}
"""Parameters that are not what `Asked.known` says, by path."""


@dataclass
class Asked:
    """The application with a host, flavors, an aggregate and a server; `known` are parameters of paths by which they are found."""

    fleet: Fleet
    known: dict[str, Any]

    def answer(self, case: Any) -> httpx.Response:
        """The response to a case, requested by an admin or an agent. Raises what httpx raises for requests that no client can send."""
        asked = case.as_transport_kwargs(base_url="http://pinfold.test")
        asked["headers"].pop("Authorization", None)
        asked.pop("cookies", None)
        if isinstance(asked.get("data"), bytes | str):
            asked["content"] = asked.pop("data")
        agent = case.path.startswith("/agent/")
        return self.fleet.http.request(**asked, auth=_Bearer(self.fleet.agents["c1"].token) if agent else httpx.USE_CLIENT_DEFAULT)

    def answer_history(self) -> None:
        """Play the agent that is asked for the samples of its host, and answers."""
        host, found = HostId(self.fleet.agents["c1"].id), HostHistory(host="c1", step_seconds=10.0)
        with self.fleet.database.write() as connection:
            history.answer(connection, host, history.ask(connection, host, 3600), encode(found))

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Play the agent that answers every question about a guest."""
        agent, ended = self.fleet.agents["c1"], threading.Event()
        counted = Diagnostics(state="running", hypervisor="kvm", memory_mib=64, cpu_ns=(1,))

        def play() -> None:
            while not ended.wait(0.05):
                for one in agent.orders()["guest_questions"]:
                    agent.ask("PUT", "/host/answer", plain(GuestAnswer(number=one["number"], diagnostics=counted)))

        thread = threading.Thread(target=play)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, sqlite_file: Path, placement_file: Path) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("openapi")
    shutil.copy(placement_file, folder / "placement.db")
    with open_fleet(folder, sqlite_file, load(EmbeddedPlacement(url=f"sqlite:///{folder}/placement.db"))) as fleet:
        host, on_lan = fleet.host("c1", replace(report(), networks=(LAN,))).id, [{"uuid": network_id("lan")}]
        hidden = {"name": "hidden", "id": "hidden", "vcpus": 1, "ram": 1, "disk": 0, "os-flavor-access:is_public": False}
        fleet.ask("POST", "/flavors", {"flavor": hidden}, status=200)
        group = fleet.ask("POST", "/os-aggregates", {"aggregate": {"name": "a"}}, status=200).json()["aggregate"]["id"]
        server = fleet.create(
            "vm", fleet.flavor("tiny", vcpus=1, hw_cpu_policy="dedicated"), metadata={"a": "b"}, networks=on_lan, tags=["t"]
        )
        fleet.obey()
        fleet.ask("POST", "/os-keypairs", {"keypair": {"name": "key", "public_key": KEY}}, status=201)
        new = fleet.create("new", "tiny", config_drive=True)
        (port,) = fleet.http.get("/network/v2.0/ports").json()["ports"]
        (fleet.services.images / "probe.toml").write_text('a = "b"\n')
        image = fleet.http.get("/image/v2/images").json()["images"][0]["id"]
        known = {"server_id": server, "guest_id": new, "hypervisor_id": host, "service_id": host, "image_id": image, "aggregate_id": group}
        known |= {"network_id": port["network_id"], "port_id": port["id"], "subnet_id": port["fixed_ips"][0]["subnet_id"]}
        (event,) = fleet.ask("GET", f"/servers/{server}/os-instance-actions").json()["instanceActions"]
        known |= {"noun": "image", "project_id": "pinfold", "alias": "net-mtu", "label": "lan"}
        known |= {"project": "pinfold", "user": "alice", "request_id": event["request_id"], "tag": "t"}
        yield Asked(fleet=fleet, known=known | {"flavor_id": "tiny", "name": "c1", "key": "a", "pattern": "c1"})
    unload()


@cache
def _document() -> dict[str, Any]:
    app = FastAPI(title="pinfold", version="0")
    for router in ROUTERS:
        app.include_router(router)
    return describe(app)()


_OPERATIONS = sorted((path, verb) for path, verbs in _document()["paths"].items() for verb in verbs)
_READING = [path for path, verb in _OPERATIONS if verb == "get"]


def test_the_document_is_the_applications(asked: Asked) -> None:
    served = asked.fleet.http.get("/openapi.json").json()
    assert set(_document()["paths"]) <= set(served["paths"])
    assert served["openapi"].startswith("3.1")
    assert not any("422" in operation["responses"] for verbs in served["paths"].values() for operation in verbs.values())


def test_every_answer_with_a_body_has_a_schema_that_says_which_keys_it_has() -> None:
    for path, verb in _OPERATIONS:
        for status, response in _document()["paths"][path][verb]["responses"].items():
            for media, content in response.get("content", {}).items():
                schema = content.get("schema", {})
                loose = schema == {} or (schema.get("type") == "object" and "properties" not in schema and "additionalProperties" in schema)
                free = path.endswith(("/os-extra_specs/{key}", "/ips/{label}", "/schemas/{noun}")) and status == "200"
                assert not loose or free, f"{verb} {path}: {status} {media} is not described: {schema}"


@pytest.mark.parametrize("path", _READING)
def test_what_is_there_is_shown_as_declared(asked: Asked, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if path == "/v1/hosts/{name}/history":
        monkeypatch.setattr(history, "FRESH_SECONDS", 3600.0)  # the question below counts, however slow the machine is
        asked.answer_history()
    operation = schemathesis.openapi.from_dict(_document())[path]["GET"]
    with asked.answering() if path.endswith("/diagnostics") else nullcontext():
        statuses = _statuses(asked, operation, path)
    assert {200, 204, 300} & set(statuses)


def _statuses(asked: Asked, operation: Any, path: str) -> list[int]:
    """What a client is answered at each microversion. Every answer is as declared."""
    statuses = []
    for version in _VERSIONS if path.startswith("/compute") else ("",):
        headers = {"OpenStack-API-Version": f"compute {version}"} if version else {}
        case = operation.Case(path_parameters=asked.known | _ELSEWHERE.get(path, {}), headers=headers)
        answer = asked.answer(case)
        case.validate_response(answer, checks=_CHECKS)
        statuses.append(answer.status_code)
    return statuses


@pytest.mark.parametrize("examples", _EXAMPLES)
@pytest.mark.parametrize(("path", "verb"), _OPERATIONS, ids=[f"{verb} {path}" for path, verb in _OPERATIONS])
def test_whatever_is_asked_is_answered_as_declared(asked: Asked, path: str, verb: str, examples: int) -> None:
    operation = schemathesis.openapi.from_dict(_document())[path][verb.upper()]
    right, wrong = (operation.as_strategy(generation_mode=mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=st.one_of(right, wrong))
    def ask(case: Any) -> None:
        try:
            answer = asked.answer(case)
        except (httpx.InvalidURL, UnicodeEncodeError, ValueError):
            return  # No client can send that.
        excluded = [not_a_server_error] if answer.status_code == _NOT_OFFERED else []
        case.validate_response(answer, checks=_CHECKS, excluded_checks=excluded)

    ask()


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request
