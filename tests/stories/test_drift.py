"""What agents' audits find: reported as values, kept by host, read by page, counted for Prometheus, and gone when it is over."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.rig.in_process import Agent, Fleet

from pinfold.agent.wire import ThreadReport
from pinfold.core.drift import Finding, FindingCode
from pinfold.core.drift.written import document, findings_report
from pinfold.core.overhead import ThreadClass
from pinfold.core.repairs import counts_text
from pinfold.store.records import REPAIRS, Observed

STRAY = Finding(
    code=FindingCode.VCPU_THREAD,
    guest="instance-1",
    guest_id="9c5d9a51-8a2f-4f3e-9f44-0f4f2c7f7d10",
    tid=71,
    thread="CPU 0/KVM",
    thread_class=ThreadClass.VCPU,
    threads=((71, "CPU 0/KVM"),),
    recorded="2",
    observed="0-15",
    repair="taskset -pc 2 71",
)
PROCESS = Finding(code=FindingCode.FOREIGN_PROCESS, tid=900, thread="stress", subject="process", observed="4")
PART = Finding(code=FindingCode.POOL_PART, guest="other", subject="its overhead threads", recorded="0-1", observed="0")

NOTHING = {"host": "c1", "up": True, "reported": None, "witnesses": [], "findings": [], "since": [], "counts": []}


def finds(agent: Agent, *findings: Finding) -> None:
    answer = agent.ask("PUT", "/host/findings", msgspec.to_builtins(findings_report(findings)))
    assert answer.status_code == 204, answer.text


def drift(fleet: Fleet, host: str) -> dict[str, Any]:
    answer = fleet.http.get(f"/v1/hosts/{host}/drift")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def all_drift(fleet: Fleet, **query: Any) -> dict[str, Any]:
    answer = fleet.http.get("/v1/drift", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def metrics(fleet: Fleet) -> list[str]:
    return [line for line in fleet.http.get("/metrics").text.splitlines() if line.startswith("pinfold_findings")]


def test_what_an_audit_found_is_shown_until_it_is_over(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    assert drift(fleet, "c1") == NOTHING

    finds(c1, STRAY, PROCESS, PART)
    shown = drift(fleet, "c1")
    assert shown["findings"] == json.loads(json.dumps([document(one) for one in (STRAY, PROCESS, PART)]))
    assert shown["findings"][0]["sentence"] == "guest instance-1: vCPU thread 71 (CPU 0/KVM) may run on 0-15, recorded is 2"
    assert shown["reported"] > 1.7e9
    assert shown["since"] == [shown["reported"]] * 3
    assert [(each["code"], each["severity"], each["count"]) for each in shown["counts"]] == [
        ("foreign-process", "drift", 1),
        ("pool-part", "note", 1),
        ("vcpu-thread", "drift", 1),
    ]
    lines = metrics(fleet)
    assert 'pinfold_findings{code="vcpu-thread",host="c1",severity="drift"} 1.0' in lines
    assert any(line.startswith('pinfold_findings_reported_timestamp_seconds{host="c1"}') for line in lines)

    finds(c1, STRAY)
    (again,) = all_drift(fleet, severity="drift")["findings"]
    assert again["since"] == shown["reported"] < drift(fleet, "c1")["reported"], "it was first reported before"
    assert drift(fleet, "c1")["since"] == [shown["reported"]]

    finds(c1)
    assert drift(fleet, "c1")["findings"] == drift(fleet, "c1")["counts"] == []
    assert not [line for line in metrics(fleet) if line.startswith("pinfold_findings{")]


def test_metrics_count_the_repairs_of_each_agent_by_class_and_result(fleet: Fleet) -> None:
    def told() -> list[str]:
        return [line for line in fleet.http.get("/metrics").text.splitlines() if line.startswith("pinfold_repairs_total{")]

    c1, c2 = fleet.host("c1"), fleet.host("c2")
    assert told() == []
    for agent, text in (
        (c1, counts_text({("emulator", "done"): 3, ("", "undone"): 1, ("vcpu", "made up"): 9})),
        (c2, '{"v":1,"value":[["emulator","done",-1]]}'),
    ):
        agent.hello(replace(agent.reported, facts=((REPAIRS, text),)))
    assert told() == [
        'pinfold_repairs_total{class="",host="c1",result="undone"} 1.0',
        'pinfold_repairs_total{class="emulator",host="c1",result="done"} 3.0',
    ]


def test_the_map_of_a_host_marks_the_places_that_the_audit_found_left(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    server = fleet.create("web", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))

    def owners() -> dict[int, Any]:
        answer = fleet.http.get("/v1/hosts/c1/map")
        assert answer.status_code == 200, answer.text
        cores = [core for cell in answer.json()["cells"] for core in cell["cores"]]
        return {pcpu["pcpu"]: owner for core in cores for pcpu in core["pcpus"] for owner in pcpu["owners"]}

    first, second = sorted(owners())
    assert [(owner["guest"], owner["name"], owner["vcpu"], owner["drifted"]) for owner in owners().values()] == [
        (server, "web", 0, None),
        (server, "web", 1, None),
    ]
    finds(c1, replace(STRAY, guest_id=server, recorded=str(second)))
    assert {pcpu: owner["drifted"] for pcpu, owner in owners().items()} == {first: False, second: True}
    finds(c1, *(replace(PROCESS, tid=number) for number in range(1001)))
    assert {pcpu: owner["drifted"] for pcpu, owner in owners().items()} == {first: None, second: None}, "the report left some out"


def test_the_drift_of_all_hosts_is_read_by_page_and_chosen_by_code_and_severity(fleet: Fleet) -> None:
    c1, c2, _ = fleet.host("c1"), fleet.host("c2"), fleet.host("c3")
    finds(c2, STRAY, PART)
    finds(c1, PROCESS, replace(PROCESS, tid=901))

    whole = all_drift(fleet)
    assert [(one["id"], one["finding"]["code"]) for one in whole["findings"]] == [
        ("c1:0", "foreign-process"),
        ("c1:1", "foreign-process"),
        ("c2:0", "vcpu-thread"),
        ("c2:1", "pool-part"),
    ]
    assert [(each["host"], each["code"], each["count"]) for each in whole["counts"]] == [
        ("c1", "foreign-process", 2),
        ("c2", "pool-part", 1),
        ("c2", "vcpu-thread", 1),
    ]
    pages, link = [], "/v1/drift?limit=2&severity=drift"
    while link:
        page = fleet.http.get(link).json()
        pages.append([one["id"] for one in page["findings"]])
        (link,) = [one["href"] for one in page.get("findings_links", [])] or [""]
    assert pages == [["c1:0", "c1:1"], ["c2:0"]]
    assert [one["id"] for one in all_drift(fleet, code="pool-part")["findings"]] == ["c2:1"]
    assert all_drift(fleet, limit=0)["findings"] == []
    for query in ({"marker": "nonsense"}, {"code": "nonsense"}, {"severity": "bad"}, {"limit": -1}):
        assert fleet.http.get("/v1/drift", params=query).status_code == 400, query
    assert fleet.http.get("/v1/hosts/nobody/drift").status_code == 404


def test_more_findings_than_a_report_holds_are_counted(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    finds(c1, *(replace(PROCESS, tid=number) for number in range(1_200)), STRAY)
    shown = drift(fleet, "c1")
    assert len(shown["findings"]) == 1_000
    assert sum(each["count"] for each in shown["counts"]) == 1_201
    assert len(all_drift(fleet, limit=2000)["findings"]) == 1_000
    assert 'pinfold_findings{code="foreign-process",host="c1",severity="drift"} 1200.0' in metrics(fleet)


@pytest.mark.parametrize(
    "body",
    [
        {"findings": [{"code": "no-such", "severity": "drift"}]},
        {"findings": [{"code": "iothread"}]},
        {"findings": "all is well"},
        {"findings": [document(PROCESS)] * 1_001},
        {"findings": [document(PROCESS) | {"guest": "x" * 5_000}]},
        {"more": [{"code": "iothread", "severity": "note", "count": -1}]},
        {"more": [{"code": "iothread", "severity": "note", "count": 10**30}]},
    ],
    ids=["an unknown code", "no severity", "no list", "too many", "a text that is too long", "a negative count", "a huge count"],
)
def test_a_report_that_breaks_the_schema_is_refused_and_changes_nothing(fleet: Fleet, body: Any) -> None:
    c1 = fleet.host("c1")
    finds(c1, STRAY)
    answer = c1.ask("PUT", "/host/findings", msgspec.to_builtins(body))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("findings: ")
    assert [one["code"] for one in drift(fleet, "c1")["findings"]] == ["vcpu-thread"]


def test_hostile_text_is_cleaned_and_the_sentence_is_the_services_own(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    body = {"findings": [msgspec.to_builtins(document(replace(STRAY, guest="a\x1b[2J", repair="\x07ls"))) | {"sentence": "all is well"}]}
    assert c1.ask("PUT", "/host/findings", body).status_code == 204
    (found,) = drift(fleet, "c1")["findings"]
    assert (found["guest"], found["repair"]) == ("a\ufffd[2J", "\ufffdls")
    assert found["sentence"].startswith("guest a\ufffd[2J: vCPU thread 71")


def test_a_count_may_be_reported_twice(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    count = {"code": "iothread", "severity": "drift", "count": 2**31 - 1}
    assert c1.ask("PUT", "/host/findings", {"more": [count, count]}).status_code == 204
    assert [each["count"] for each in drift(fleet, "c1")["counts"]] == [2 * (2**31 - 1)]


def test_a_host_that_lost_its_power_or_is_removed_has_no_findings(fleet: Fleet) -> None:
    c1, c2 = fleet.host("c1"), fleet.host("c2")
    for agent in (c1, c2):
        finds(agent, STRAY)
        agent.ask("DELETE", "/host")
    assert drift(fleet, "c1")["up"] is False
    assert len(drift(fleet, "c1")["findings"]) == 1, "a silent host is shown as it was last seen"
    assert fleet.http.post("/v1/hosts/c1/fence", json={"powered_off": True}).status_code == 200
    assert drift(fleet, "c1") == NOTHING | {"up": False}
    assert fleet.http.delete("/v1/hosts/c2").status_code == 204
    assert all_drift(fleet) == {"findings": [], "counts": []}


def test_an_agent_of_an_earlier_pinfold_reports_sentences_of_its_guests_alone(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    c1.protocol = 1
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1))
    order = c1.order(server)
    told = ThreadReport(witness="procfs", drift=("guest vm: vCPU thread 71 (CPU 0/KVM) may run on 0-15, recorded is 2",))
    assert c1.says(server, Observed.RUNNING, boot=1, revision=order["revision"], threads=told).status_code == 204
    assert fleet.http.get(f"/v1/servers/{server}/placement").json()["observed"]["drift"] == list(told.drift)
    assert drift(fleet, "c1") == NOTHING | {"witnesses": ["procfs"]}


def test_a_listing_of_hosts_counts_what_breaks_a_promise(fleet: Fleet) -> None:
    c1, c2 = fleet.host("c1"), fleet.host("c2")
    fleet.host("c3")
    finds(c1, STRAY, PROCESS, PART)
    finds(c2, PART)
    listed = fleet.http.get("/v1/hosts").json()["hosts"]
    assert {host["name"]: host["drift"] for host in listed} == {"c1": 2, "c2": 0, "c3": None}
    assert fleet.http.get("/v1/hosts/c1").json()["host"]["drift"] == 2
    finds(c1)
    assert fleet.http.get("/v1/hosts/c1").json()["host"]["drift"] == 0
