"""No value in an address, a query, a header or a body makes the API fail: each is taken, or refused with 4xx or 501; 503
is for an agent that does not answer.

Every parameter of every route and every value of the bodies below is replaced by each hostile value, one at a time, where everything else
is right. So the value gets as far as the code that reads it: `tests/api/test_openapi.py` makes requests up, and most are refused early.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest
from tests.api.test_openapi import _ELSEWHERE, _OPERATIONS, Asked, _Bearer, _document, asked, placement_file, sqlite_file
from tests.rig.client import COMPUTE, PROBE, compute, server_body
from tests.stories.test_key_pairs import KEY

from pinfold.api.compute.servers import agent_answers

__all__ = ["asked", "placement_file", "sqlite_file"]

_TEXTS: Final = ("日", "in:a\nb", "--5", "9" * 30, "2026-13-45T99:99", "x" * 300)
"""What is no Latin-1, no line of CSV, no integer, no integer of a database, no time and no name."""
_MORE_TEXTS: Final = (
    *("in:a\rb", 'in:"', "in:", "-1", "1.5", "9" * 5000, "1e999", "nan", "inf", "٣", "²", "a/b", "..", "%", "%zz", "+", "&", "a;b"),
    *("\x00", "\x1b", "\t", "\r\n", "\xff", "", " ", "[", "(" * 200, '"', "'", "<", "{}", "null", "true", "0-99999999999", "^0"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "𝄞", "=", "====", "data:;base64,=", "\u202e", "::1", "fe80::1%日"),
)
_VALUES: Final[tuple[Any, ...]] = (*_TEXTS, None, True, -1, 1 << 63, 10**30, 0.5, [], {}, ["日"], {"日": "日"})
_MORE_VALUES: Final[tuple[Any, ...]] = (*_MORE_TEXTS, 0, 1e308, -(1 << 63) - 1, 1 << 31, [[]], [None], [{}], {"": ""}, {"a": None}, False)
_STREAMS: Final = ("/live", "/diagnostics", "/v1/hosts/{name}/history")
"""What does not end, or waits for an agent's answer."""
_ACTION: Final = f"POST {COMPUTE}/servers/{{server_id}}/action"


def _bodies(asked: Asked) -> list[tuple[str, dict[str, Any]]]:
    """Requests with right bodies, whose every value is replaced in turn."""
    lan = asked.known["network_id"]
    full = server_body("n", "tiny", metadata={"a": "b"}, description="d", hostname="h", tags=["t"], key_name="key", user_data="Zm9v")
    full |= {"networks": [{"uuid": lan}], "config_drive": True, "min_count": 1, "max_count": 1}
    full |= {"accessIPv4": "192.0.2.7", "accessIPv6": "2001:db8::7", "adminPass": "p", "availability_zone": "nova", "host": "c1"}
    full |= {"hypervisor_hostname": "c1", "return_reservation_id": False, "OS-DCF:diskConfig": "AUTO", "security_groups": []}
    disk = {"uuid": PROBE, "boot_index": 0, "destination_type": "local", "volume_size": 1, "delete_on_termination": True}
    full |= {"block_device_mapping_v2": [disk | {"source_type": "image", "device_name": "/dev/vda", "tag": "t"}]}
    hints = {"different_host": [asked.known["server_id"]], "same_host": [asked.known["server_id"]], "query": '["=", "$x", "y"]'}
    rebuilt = {"imageRef": PROBE, "name": "n", "metadata": {"a": "b"}, "user_data": "Zm9v", "key_name": "key", "adminPass": "p"}
    rebuilt |= {"description": "d", "accessIPv4": "192.0.2.7", "preserve_ephemeral": False, "hostname": "h"}
    flavor = {"name": "n", "id": "n", "vcpus": 1, "ram": 1, "disk": 0, "swap": 0, "rxtx_factor": 1.0, "description": "d"}
    flavor |= {"OS-FLV-EXT-DATA:ephemeral": 0, "os-flavor-access:is_public": True}
    specs = {"hw:cpu_policy": "dedicated", "hw:numa_nodes": "1", "hw:mem_page_size": "4", "hw:cpu_sockets": "1", "hw:numa_cpus.0": "0"}
    specs |= {"quota:cpu_shares": "1024", "hw:cpu_realtime_mask": "^0", "resources:PCPU": "1", "hw:numa_mem.0": "64", "a:b": "c"}
    image = {"name": "n", "disk_format": "raw", "container_format": "bare", "min_ram": 1, "min_disk": 1, "tags": [], "hw_cpu_cores": "1"}
    question = {"flavor": {"vcpus": 1, "ram": 1, "disk": 0, "extra_specs": specs}, "image": "probe"}
    compute_api = {
        "POST /servers": {"server": full, "os:scheduler_hints": hints},
        "PUT /servers/{server_id}": {"server": {"name": "n", "description": "d", "accessIPv4": "192.0.2.7"}},
        "PUT /servers/{server_id}/tags": {"tags": ["a"]},
        "PUT /servers/{server_id}/metadata": {"metadata": {"a": "b"}},
        "PUT /servers/{server_id}/metadata/{key}": {"meta": {"a": "b"}},
        "POST /servers/{server_id}/remote-consoles": {"remote_console": {"protocol": "serial", "type": "serial"}},
        "POST /servers/{server_id}/os-interface": {"interfaceAttachment": {"net_id": lan, "fixed_ips": [{"ip_address": "192.0.2.12"}]}},
        "POST /flavors": {"flavor": flavor},
        "PUT /flavors/{flavor_id}": {"flavor": {"description": "d"}},
        "POST /flavors/{flavor_id}/os-extra_specs": {"extra_specs": specs},
        "PUT /flavors/{flavor_id}/os-extra_specs/{key}": {"hw:cpu_policy": "dedicated"},
        "POST /flavors/{flavor_id}/action": {"addTenantAccess": {"tenant": "pinfold"}},
        "POST /os-aggregates": {"aggregate": {"name": "n", "availability_zone": "z"}},
        "PUT /os-aggregates/{aggregate_id}": {"aggregate": {"name": "m", "availability_zone": "z"}},
        "POST /os-aggregates/{aggregate_id}/action": {"set_metadata": {"metadata": {"a": "b"}}},
        "PUT /os-services/{service_id}": {"status": "enabled", "disabled_reason": "d"},
        "POST /os-keypairs": {"keypair": {"name": "n", "public_key": KEY, "type": "ssh", "user_id": "alice"}},
        "PUT /os-quota-sets/{project}": {"quota_set": {"instances": 9, "cores": 9, "ram": 9999, "force": True}},
    }
    actions: list[dict[str, Any]] = [
        {"os-getConsoleOutput": {"length": "5"}},
        {"os-getConsoleOutput": {"length": 5}},
        {"os-resetState": {"state": "active"}},
        {"reboot": {"type": "SOFT"}},
        {"lock": {"locked_reason": "r"}},
        {"os-getSerialConsole": {"type": "serial"}},
        {"createImage": {"name": "n", "metadata": {}}},
        {"rebuild": rebuilt},
    ]
    others = {
        "POST /image/v2/images": image,
        "POST /v1/fits": question,
        "POST /v1/hosts": {"name": "c9"},
        "POST /v1/hosts/{name}/fence": {"powered_off": True},
        "POST /v1/hosts/{name}/repin": {"revision": 1},
        "PUT /v1/hosts/{name}/pools": {"shared": "0-1", "dedicated": "2-15", "overhead": "0-1"},
        "PUT /v1/projects/{project}/quota": {"instances": 9, "cores": 9, "pcpus": 9, "memory_mib": 999},
    }
    found = [(f"{line.replace(' ', f' {COMPUTE}', 1)}", body) for line, body in compute_api.items()]
    return [*found, *others.items(), *((_ACTION, action) for action in actions)]


def _replaced(value: Any, hostile: tuple[Any, ...]) -> Iterator[Any]:
    """The value with one of its parts replaced, or one of its keys, for each part and each hostile value."""
    yield from hostile
    if isinstance(value, dict):
        for key, part in value.items():
            yield from (value | {key: other} for other in _replaced(part, hostile))
            rest = {name: one for name, one in value.items() if name != key}
            yield from (rest | {other: part} for other in hostile if isinstance(other, str))
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from ([*value[:index], other, *value[index + 1 :]] for other in _replaced(part, hostile))


class _Client:
    """Asks, and keeps what was answered with 5xx."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.failed: list[str] = []

    def address(self, path: str, **more: str) -> str:
        """A path with its parameters."""
        values = self._asked.known | _ELSEWHERE.get(path, {}) | more
        for name in _names(path):
            path = path.replace(f"{{{name}}}", quote(str(values.get(name, "x")), safe=""))
        return path

    def ask(self, verb: str, address: str, body: Any = None, **more: Any) -> None:
        agent = address.startswith("/agent/")
        auth = _Bearer(self._asked.fleet.agents["c1"].token) if agent else httpx.USE_CLIENT_DEFAULT
        content = None if body is None else json.dumps(body).encode()
        headers = compute() | ({} if body is None else {"Content-Type": "application/json"}) | more.pop("headers", {})
        try:
            request = self._asked.fleet.http.build_request(verb, address, content=more.pop("content", content), headers=headers)
        except httpx.InvalidURL:
            return  # no client can send that
        answer = self._asked.fleet.http.send(request, auth=auth)
        refused_by_the_database = answer.status_code == 503 and "the database does not answer" in answer.text
        if refused_by_the_database or (answer.status_code >= 500 and answer.status_code not in (501, 503)):
            self.failed.append(f"{verb} {address[:200]} {str(body)[:200]}: {answer.status_code} {answer.text[:200]}")


def _names(path: str) -> list[str]:
    return [part.partition("}")[0] for part in path.split("{")[1:]]


_HEADERS: Final = (
    *("Accept", "Accept-Encoding", "Content-Type", "Content-Length", "Content-Range", "Cookie", "Forwarded", "Host", "If-Match"),
    *("If-Modified-Since", "If-None-Match", "If-Range", "Origin", "Range", "Referer", "X-Auth-Token", "X-OpenStack-Request-Id"),
    *("OpenStack-API-Version", "X-OpenStack-Nova-API-Version", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"),
)
_ASKED: Final = (
    f"GET {COMPUTE}/servers?limit=1",
    f"PUT {COMPUTE}/servers/{{server_id}}/tags/t",
    "GET /image/v2/images/{image_id}/file",
    "GET /network/v2.0/ports",
    "GET /v1/hosts",
    "GET /ui",
)
_UNDECLARED: Final = ("limit", "marker", "fields", "sort_key", "sort_dir", "page_reverse", "id", "name", "fixed_ips", "日")
"""Parameters that the network API reads without declaring them."""
_FORMS: Final = {"repin": ("revision",), "pools": ("shared", "dedicated", "overhead", "revision"), "disable": ("reason",)}
_SETS: Final = [False, pytest.param(True, marks=pytest.mark.slow)]


@pytest.mark.parametrize("more", _SETS, ids=["some", "all"])
def test_no_parameter_of_a_route_makes_it_fail(asked: Asked, more: bool) -> None:
    client = _Client(asked)
    for path, verb in _OPERATIONS:
        if path.endswith(_STREAMS):
            continue
        for parameter in _document()["paths"][path][verb].get("parameters", ()):
            name = parameter["name"]
            for text in (*_TEXTS, *(_MORE_TEXTS if more else ())):
                if parameter["in"] == "path":
                    client.ask(verb.upper(), client.address(path, **{name: text}), None if verb in ("get", "delete") else {})
                elif parameter["in"] == "query" and verb == "get":
                    client.ask("GET", f"{client.address(path)}?{quote(name, safe='')}={quote(text, safe='')}")
    assert client.failed == []


@pytest.mark.parametrize("more", _SETS, ids=["some", "all"])
def test_no_value_of_a_body_makes_a_route_fail(asked: Asked, more: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_answers, "WAIT_SECONDS", 0.0)  # no agent answers here
    client = _Client(asked)
    for line, right in _bodies(asked):
        verb, path = line.split(" ", 1)
        for body in (right, *_replaced(right, (*_VALUES, *(_MORE_VALUES if more else ())))):
            client.ask(verb, client.address(path), body)
    assert client.failed == []


@pytest.mark.parametrize("more", _SETS, ids=["some", "all"])
def test_no_header_form_or_undeclared_parameter_makes_a_route_fail(asked: Asked, more: bool) -> None:
    client = _Client(asked)
    for text in (*_TEXTS, *(_MORE_TEXTS if more else ())):
        for line in _ASKED:
            verb, path = line.split(" ")
            for name in _HEADERS:
                client.ask(verb, client.address(path), headers={name: text.encode()})
        for noun in ("networks", "subnets", "ports", "extensions"):
            for name in _UNDECLARED:
                client.ask("GET", f"/network/v2.0/{noun}?{quote(name)}={quote(text, safe='')}")
        for form, names in _FORMS.items():
            for name in names:
                content = f"{name}={quote(text, safe='')}".encode()
                sent = {
                    "Content-Type": "application/x-www-form-urlencoded",
                    "Origin": "http://pinfold.test",
                    "Sec-Fetch-Site": "same-origin",
                }
                client.ask("POST", f"/ui/hosts/c1/{form}", content=content, headers=sent)
    assert client.failed == []
