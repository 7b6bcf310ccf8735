"""What no host takes, and the host that takes it after all: every refusal names each host and what it lacked."""

from __future__ import annotations

import re

from tests.build.hosts import report
from tests.rig.client import server_body
from tests.rig.in_process import Fleet
from tests.rig.promises import at_rest

from pinfold.core.encoding import plain
from pinfold.core.fit.engine import fit
from pinfold.core.fit.written import answer_of
from pinfold.core.host import Limits, OverheadRates
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor
from pinfold.store import hosts

_NARROW = Limits(reserved_memory_mib=0, shared_fraction=0.1, rates=OverheadRates(guest=50, vcpu=20, disk=0, nic=0))
"""An overhead pool of 200 millicpu, of which a guest of two vCPUs books 90."""


def test_the_reasons_of_every_host_are_in_the_fault(fleet: Fleet) -> None:
    fleet.host("c07", report(limits=_NARROW))
    fleet.host("c08", report(cells=2, cores=2, shared="0-1"))
    fleet.flavor("share", vcpus=2, hw_cpu_policy="dedicated", hw_emulator_threads_policy="share")
    fleet.flavor("wide", vcpus=5, hw_cpu_policy="dedicated")
    on_c07 = [fleet.create(f"vm{index}", "share", host="c07") for index in (1, 2)]
    wide = fleet.create("wide", "wide")
    assert fleet.show(wide)["OS-EXT-SRV-ATTR:host"] == "c07"

    refused = fleet.create("vm3", "share", host="c07")
    shown = fleet.show(refused)
    assert (shown["status"], shown["OS-EXT-STS:vm_state"], shown["OS-EXT-SRV-ATTR:host"]) == ("ERROR", "error", None)
    assert shown["fault"]["code"] == 500
    assert "c07: overhead pool has 20 of 90 millicpu free" in shown["fault"]["message"]
    assert "c08" not in shown["fault"]["message"]

    refused = fleet.create("wide2", "wide")
    message = fleet.show(refused)["fault"]["message"]
    assert message.startswith("No host takes the guest: c07: ")
    assert re.search(r"c07: .*cell \d has \d free dedicated pCPUs, 5 needed", message), message
    assert re.search(r"c08: .*cell \d has \d dedicated pCPUs, 5 needed", message), message
    told = fleet.http.get(f"/v1/servers/{refused}/placement").json()
    assert [refusal["host"] for refusal in told["refusals"]] == ["c07", "c08"]
    assert [refusal["revision"] for refusal in told["refusals"]] == [
        fleet.http.get(f"/v1/hosts/{name}").json()["host"]["revision"] for name in ("c07", "c08")
    ]
    assert told["claim"] is None

    for server in (*on_c07, wide):
        fleet.ask("DELETE", f"/servers/{server}", status=204)
    fleet.obey()
    fleet.ask("DELETE", f"/servers/{refused}", status=204)
    fleet.ask("GET", f"/servers/{refused}", status=404)
    assert fleet.usage("c07") == {}
    at_rest(fleet.database, fleet.services.placement)


def test_a_server_keeps_the_values_of_each_hosts_refusal(fleet: Fleet) -> None:
    """In the form in which `POST /v1/fits` gives them, whether another host took the server or none did."""
    fleet.host("c1", report(cells=2, cores=2, shared="0-1"))
    fleet.flavor("wide", vcpus=9, hw_cpu_policy="dedicated")
    server = fleet.create("vm", "wide")
    (kept,) = fleet.http.get(f"/v1/servers/{server}/placement").json()["refusals"]
    (told,) = fleet.http.post("/v1/fits", json={"flavor": "wide"}).json()["refusals"]
    assert kept == told
    assert (kept["host"], kept["kind"]) == ("c1", "infeasible")
    assert {reason["code"] for reason in kept["reasons"]} == {"guest-cell", "dedicated-pcpus"}
    assert kept["sentence"] == "; ".join(reason["sentence"] for reason in kept["reasons"])


def test_a_fleet_without_hosts_says_so(fleet: Fleet) -> None:
    fleet.flavor("tiny", vcpus=1)
    server = fleet.create("vm", "tiny")
    assert fleet.show(server)["fault"]["message"] == "No host is registered"


def test_metrics_count_refused_guests_by_reason(fleet: Fleet) -> None:
    def refusals() -> dict[str, float]:
        found = re.findall(r'^pinfold_refusals_total\{code="(.+)"\} (.+)$', fleet.http.get("/metrics").text, re.MULTILINE)
        return {code: float(count) for code, count in found}

    codes = {*(code.value for code in ReasonCode), "no-host"}
    assert refusals() == dict.fromkeys(codes, 0.0)
    fleet.flavor("wide", vcpus=9, hw_cpu_policy="dedicated")
    fleet.create("early", "wide")
    fleet.host("c1", report(cells=2, cores=2, shared="0-1"))
    fleet.host("c2", report(cells=2, cores=2, shared="0-1"))
    fleet.create("vm", "wide")
    assert {code: count for code, count in refusals().items() if count} == {"no-host": 1.0, "guest-cell": 1.0, "dedicated-pcpus": 1.0}


def test_a_flavor_that_contradicts_itself_is_refused_before_anything_is_stored(fleet: Fleet) -> None:
    fleet.host("c1")
    fleet.flavor("odd", vcpus=2, hw_emulator_threads_policy="share")
    answer = fleet.ask("POST", "/servers", {"server": server_body("vm", "odd")}, status=400)
    assert "hw:emulator_threads_policy" in answer.json()["badRequest"]["message"]
    assert fleet.ask("GET", "/servers").json() == {"servers": []}


def test_a_misspelt_extra_spec_is_refused_with_the_right_key(fleet: Fleet) -> None:
    fleet.flavor("f")
    answer = fleet.ask("POST", "/flavors/f/os-extra_specs", {"extra_specs": {"hw:emulator_threads": "share"}}, status=400)
    assert "hw:emulator_threads_policy" in answer.json()["badRequest"]["message"]
    assert fleet.ask("GET", "/flavors/f/os-extra_specs").json() == {"extra_specs": {}}


def test_a_host_without_an_overhead_pool_lets_share_guests_float_and_books_nothing(fleet: Fleet) -> None:
    fleet.host("bare", report(overhead=False))
    fleet.flavor("share", vcpus=2, hw_cpu_policy="dedicated", hw_emulator_threads_policy="share")
    fleet.create("vm", "share")
    assert fleet.usage("bare") == {"PCPU": 2, "MEMORY_MB": 64}


def test_isolate_consumes_one_pcpu_more_and_thread_policy_isolate_the_idle_siblings(fleet: Fleet) -> None:
    fleet.host("c1")
    fleet.flavor("own", vcpus=2, hw_cpu_policy="dedicated", hw_emulator_threads_policy="isolate")
    fleet.flavor("cores", vcpus=2, hw_cpu_policy="dedicated", hw_cpu_thread_policy="isolate")
    fleet.create("a", "own")
    assert fleet.usage("c1")["PCPU"] == 3
    fleet.create("b", "cores")
    assert fleet.usage("c1")["PCPU"] == 7
    at_rest(fleet.database, fleet.services.placement)


def test_what_would_happen_is_told_before_anything_is_created(fleet: Fleet) -> None:
    fleet.host("c07", report(limits=_NARROW))
    fleet.host("c08", report(shared="0-1", limits=Limits(reserved_memory_mib=0)))
    fleet.flavor("share", vcpus=2, hw_cpu_policy="dedicated", hw_emulator_threads_policy="share")
    for name in ("a", "b"):
        fleet.create(name, "share", host="c07")
    answer = fleet.http.post("/v1/fits", json={"flavor": "share"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert [candidate["host"] for candidate in told["candidates"]] == ["c08"]
    assert [refusal["host"] for refusal in told["refusals"]] == ["c07"]
    assert told["refusals"][0]["reasons"][0] == {
        "code": "overhead-booked",
        "kind": "insufficient",
        "cell": None,
        "needed": 90,
        "available": 20,
        "detail": "",
        "sentence": "overhead pool has 20 of 90 millicpu free",
    }
    inline = {"vcpus": 2, "ram": 64, "extra_specs": {"hw:cpu_policy": "dedicated"}}
    told = fleet.http.post("/v1/fits", json={"flavor": inline, "host": "c07"}).json()
    assert [candidate["host"] for candidate in told["candidates"]] == ["c07"]
    assert fleet.ask("GET", "/servers?all_tenants=1").json()["servers"][0]["name"] == "b"


def test_an_extra_spec_that_is_not_there_is_told_once_and_in_novas_words(fleet: Fleet) -> None:
    fleet.flavor("f")
    for method in ("GET", "DELETE"):
        answer = fleet.ask(method, "/flavors/f/os-extra_specs/hw:cpu_policy", status=404)
        assert answer.json()["itemNotFound"]["message"] == "Flavor f has no extra specs with key hw:cpu_policy."


def test_the_answer_of_one_host_is_the_same_document_without_a_service(fleet: Fleet) -> None:
    """But for the revision, which a host has in the service only."""
    fleet.host("c07")
    with fleet.database.read() as connection:
        (ledger,) = hosts.ledgers(connection)
    for vcpus in (2, 64):
        inline = {"vcpus": vcpus, "ram": 64, "extra_specs": {"hw:cpu_policy": "dedicated"}}
        told = fleet.http.post("/v1/fits", json={"flavor": inline}).json()
        request = compile_request(Flavor(vcpus=vcpus, memory_mib=64, extra_specs=(("hw:cpu_policy", "dedicated"),)))
        alone = plain(answer_of(fit(request, ledger.state, ledger.record.report.strategy), "c07", not_acted_upon=request.not_acted_upon))
        for one in (*told["candidates"], *told["refusals"]):
            assert one["revision"] == ledger.record.revision
            one["revision"] = None
        assert told == alone
