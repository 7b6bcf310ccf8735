"""Changes from the web page: each after a plan, by an admin, from a page of this service."""

from __future__ import annotations

import re

from msgspec.structs import replace
from tests.rig.client import SHARE
from tests.rig.drawn_fleet import drift
from tests.rig.in_process import ADMIN, READER, Fleet
from tests.rig.web_page import FORM, post, text_of
from tests.stories.test_drift import finds

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, FindingCode
from pinfold.core.encoding import plain
from pinfold.core.pools import Pools
from pinfold.core.repair_question import RepairAnswer, RepairResult


def test_an_admin_disables_a_host_from_its_page_after_the_plan_and_enables_it_again(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    fleet.create("web", fleet.flavor("share", vcpus=2, **SHARE), host="c1")
    c1.obey()
    assert 'href="/ui/hosts/c1/disable"' in fleet.http.get("/ui/hosts/c1").text
    text = text_of(fleet.http.get("/ui/hosts/c1/disable"))
    assert "c1 takes no new guests. Its guest stays and runs on." in text
    assert not fleet.http.get("/v1/hosts/c1").json()["host"]["disabled"], "a plan changes nothing"

    done = post(fleet, "/ui/hosts/c1/disable", ADMIN, reason="new <b>fans</b>")
    assert (done.status_code, done.headers["location"]) == (303, f"/ui/hosts/{c1.id}")
    host = fleet.http.get("/v1/hosts/c1").json()["host"]
    assert (host["disabled"], host["disabled_reason"]) == (True, "new <b>fans</b>")
    assert "Disabled: new &lt;b&gt;fans&lt;/b&gt;" in fleet.http.get("/ui/hosts/c1").text
    assert "is disabled already: only the reason changes" in text_of(fleet.http.get("/ui/hosts/c1/disable"))

    assert "c1 takes new guests again." in text_of(fleet.http.get("/ui/hosts/c1/enable"))
    assert post(fleet, "/ui/hosts/c1/enable", ADMIN).status_code == 303
    assert not fleet.http.get("/v1/hosts/c1").json()["host"]["disabled"]


def test_only_an_admin_and_only_from_a_page_of_this_service_changes_a_host(fleet: Fleet) -> None:
    fleet.host("c1")
    reader = fleet.http.get("/ui/hosts/c1", auth=READER).text
    assert "/disable" not in reader
    assert fleet.http.get("/ui/hosts/c1/disable", auth=READER).status_code == 403
    assert post(fleet, "/ui/hosts/c1/disable", READER).status_code == 403
    assert post(fleet, "/ui/hosts/c1/disable", None).status_code == 401
    for origin in ("http://evil.example", "null", ""):
        away = fleet.http.post("/ui/hosts/c1/disable", content="reason=x", headers=FORM | {"Origin": origin})
        assert away.status_code == 403
    assert post(fleet, "/ui/hosts/c1/disable", ADMIN, reason="x" * 256).status_code == 400
    assert post(fleet, "/ui/hosts/absent/disable", ADMIN).status_code == 404
    assert not fleet.http.get("/v1/hosts/c1").json()["host"]["disabled"]


def test_an_admin_re_pins_guests_from_the_page_after_the_plan(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    guest = fleet.create("<b>web</b>", fleet.flavor("small", vcpus=1, **SHARE))
    c1.obey()
    pcpu = c1.order(guest)["claim"]["fit"]["cells"][0]["pins"][0][1]
    assert "no move helps" in text_of(fleet.http.get("/ui/hosts/c1/repin"))
    pools = c1.reported.pools
    c1.hello(replace(c1.reported, pools=Pools(shared=pools.shared, dedicated=pools.dedicated - CpuSet.of(pcpu), overhead=pools.overhead)))

    assert 'href="/ui/hosts/c1/repin"' in fleet.http.get("/ui/hosts/c1").text
    page = fleet.http.get("/ui/hosts/c1/repin")
    text = text_of(page)
    assert f"1 A <b>web</b> vCPU 0 {pcpu}" in text
    assert f"retiring pCPU {pcpu} becomes free of guests" in text
    assert "1 running guest moves in 1 step, without a restart: 1 vCPU moves and finds cold caches there" in text
    assert f"nothing else may take pCPU {pcpu}" in text
    assert c1.order(guest)["claim"]["fit"]["cells"][0]["pins"][0][1] == pcpu, "a plan changes nothing"

    (revision,) = re.findall(r'name="revision" value="(\d+)"', page.text)
    assert post(fleet, "/ui/hosts/c1/repin", ADMIN, revision=str(int(revision) - 1)).status_code == 409
    for wrong in ("", "x", "٣", "9" * 30):
        assert post(fleet, "/ui/hosts/c1/repin", ADMIN, revision=wrong).status_code == 400
    done = post(fleet, "/ui/hosts/c1/repin", ADMIN, revision=revision)
    assert (done.status_code, done.headers["location"]) == (303, f"/ui/hosts/{c1.id}/repin")
    assert c1.order(guest)["claim"]["fit"]["cells"][0]["pins"][0][1] != pcpu
    way = "1 guest on the way to their new places; not there yet: <b>web</b>."
    assert way in text_of(fleet.http.get("/ui/hosts/c1/repin"))
    assert way in text_of(fleet.http.get("/ui/hosts/c1"))
    c1.obey()
    assert "The last plan: 1 guest moved." in text_of(fleet.http.get("/ui/hosts/c1/repin"))


def test_an_admin_repairs_a_drifted_guest_from_the_page_after_the_plan(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    guest = fleet.create("<b>web</b>", fleet.flavor("share", vcpus=2, **SHARE), host="c1")
    c1.obey()
    other = Finding(code=FindingCode.EMULATOR_THREAD, guest="<b>web</b>", guest_id=guest, subject="x", advice="restart it")
    finds(c1, drift(guest, "<b>web</b>"), other)
    path = f"/ui/guests/{guest}/repair"
    assert f'href="{path}"' in fleet.http.get("/ui/hosts/c1").text
    assert f'href="{path}"' in fleet.http.get(f"/ui/guests/{guest}").text
    text = text_of(fleet.http.get(path))
    assert "emulator thread 4711 (worker) may run on 0-39, should be on 0-1 0-39 0-1" in text, "what, from, to"
    assert "moving threads does not undo that: restart it" in text
    assert c1.orders()["repairs"] == [], "a plan changes nothing"

    done = post(fleet, path, ADMIN)
    assert (done.status_code, done.headers["location"]) == (303, f"/ui/guests/{guest}")
    assert c1.orders()["repairs"] == [{"guest": guest, "number": 1}]
    assert "its agent has not answered yet" in text_of(fleet.http.get(f"/ui/guests/{guest}"))
    answered = plain(RepairAnswer(number=1, result=RepairResult.DONE, sentence="moved, and <i>read back</i>"))
    assert fleet.host("c2").ask("PUT", f"/guests/{guest}/repair", answered).status_code == 204
    assert c1.orders()["repairs"], "another agent was not asked"
    assert c1.ask("PUT", f"/guests/{guest}/repair", answered).status_code == 204
    assert c1.ask("PUT", f"/guests/{guest}/repair", {"number": 1, "result": "magic"}).status_code == 400
    finds(c1)
    for page in (path, f"/ui/guests/{guest}", "/ui/hosts/c1"):
        assert "repaired: moved, and <i>read back</i>" in text_of(fleet.http.get(page))


def test_a_guest_is_repaired_only_where_that_is_possible_and_only_by_an_admin(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    guest = fleet.create("web", fleet.flavor("share", vcpus=2, **SHARE), host="c1")
    path = f"/ui/guests/{guest}/repair"
    assert "guest web does not run: there are no threads to move." in text_of(fleet.http.get(path))
    assert post(fleet, path, ADMIN).status_code == 409
    c1.obey()
    finds(c1, drift(guest, "web"))
    assert "/repair" not in fleet.http.get("/ui/hosts/c1", auth=READER).text
    assert "/repair" not in fleet.http.get(f"/ui/guests/{guest}", auth=READER).text
    assert fleet.http.get(path, auth=READER).status_code == 403
    assert post(fleet, path, READER).status_code == 403
    assert fleet.http.post(path, content="", headers=FORM | {"Origin": "http://evil.example"}).status_code == 403
    assert post(fleet, "/ui/guests/absent/repair", ADMIN).status_code == 404
    c1.ask("DELETE", "/host")
    assert post(fleet, path, ADMIN).status_code == 409
    assert "host c1 is silent" in text_of(fleet.http.get(path))


def test_an_admin_changes_pools_from_the_page_after_the_plan(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    guest = fleet.create("<b>web</b>", fleet.flavor("share", vcpus=2, **SHARE), host="c1")
    c1.obey()
    assert 'href="/ui/hosts/c1/pools"' in fleet.http.get("/ui/hosts/c1").text
    page = "/ui/hosts/c1/pools"
    assert 'name="dedicated" value="2-15"' in fleet.http.get(page).text
    assert 'role="alert"' in fleet.http.get(page, params={"shared": "0-99"}).text, "the host has no such pCPU"
    wanted = {"shared": "0-2", "dedicated": "3-15", "overhead": "0-2"}
    shown = fleet.http.get(page, params=wanted)
    text = text_of(shown)
    assert "A <b>web</b> emulator threads 0-1 0-2" in text
    assert "pCPU 2 now D then SO" in text
    assert "pCPUs in the shared pool: 2 now, 3 then" in text and "pCPUs in the dedicated pool: 14 now, 13 then" in text
    assert "threads of 1 running guest move, without a restart" in text
    assert "guest <b>web</b> keeps pCPU 2, retiring" in text
    assert c1.orders()["pools"] is None, "a plan changes nothing"

    (revision,) = re.findall(r'name="revision" value="(\d+)"', shown.text)
    assert post(fleet, page, ADMIN, **wanted, revision="0").status_code == 409
    assert post(fleet, page, ADMIN, shared="x", revision=revision).status_code == 400
    assert post(fleet, page, READER, **wanted, revision=revision).status_code == 403
    done = post(fleet, page, ADMIN, **wanted, revision=revision)
    assert (done.status_code, done.headers["location"]) == (303, f"/ui/hosts/{c1.id}/pools")
    assert c1.orders()["pools"] == wanted
    assert "The agent does not use the ordered pools yet." in text_of(fleet.http.get(page))
    assert c1.order(guest)["claim"]["fit"]["emulator"] == "0-1", "the guest follows when the agent uses them"


def test_only_an_admin_and_only_from_a_page_of_this_service_re_pins(fleet: Fleet) -> None:
    fleet.host("c1")
    assert "/repin" not in fleet.http.get("/ui/hosts/c1", auth=READER).text
    assert post(fleet, "/ui/hosts/c1/repin", READER, revision="1").status_code == 403
    away = fleet.http.post("/ui/hosts/c1/repin", content="revision=1", headers=FORM | {"Origin": "http://evil.example"})
    assert away.status_code == 403
