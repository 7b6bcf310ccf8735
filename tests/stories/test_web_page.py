"""The web page over the real application: sign-in, what the pages say, what they forbid, and how many live updates an account has."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from uuid import uuid4

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from tests.build.hosts import NO_RESERVE, as_state, report
from tests.rig.client import SHARE
from tests.rig.drawn_fleet import answer, draw_fleet, hour, seen_threads
from tests.rig.in_process import ADMIN, READER, Fleet
from tests.rig.web_page import FORM, as_it_is, get, sign_in, text_of
from tests.stories.test_drift import PART, STRAY, finds

from pinfold.api.accounts import Account, Role
from pinfold.api.ui.fleet import FleetQuery, fleet_mark
from pinfold.api.ui.host_rows import ORDERS
from pinfold.api.ui.pictures import Pictures
from pinfold.api.ui.routes import CHANGED, changes
from pinfold.api.ui.samples import ASK_SECONDS, OTHERS, PRESSURE_SECONDS, Samples
from pinfold.api.ui.sessions import MOST_SESSIONS, SESSION_SECONDS, SESSIONS_PER_ACCOUNT, STREAMS_PER_ACCOUNT, Sessions
from pinfold.core.host import Locality
from pinfold.core.identity import HostId
from pinfold.store import hosts as store_hosts
from pinfold.store.schema import host, host_history

OTHER_FORMS = {"bytes": b"\xff", "text": b"name=%ff&password=x", "many": b"a=1&" * 9, "long": b"name=" + b"x" * 5000}


@pytest.mark.parametrize("body", OTHER_FORMS.values(), ids=OTHER_FORMS)
def test_a_form_that_is_none_of_ours_is_refused(fleet: Fleet, body: bytes) -> None:
    answer = fleet.http.post("/ui/sign-in", content=body, headers=FORM, auth=as_it_is)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"]


def test_a_browser_signs_in_reads_and_signs_out(fleet: Fleet) -> None:
    fleet.host("c1")
    away = get(fleet, "/ui")
    assert (away.status_code, away.headers["location"]) == (303, "/ui/sign-in")
    assert 'action="/ui/sign-in"' in get(fleet, "/ui/sign-in").text

    wrong = sign_in(fleet, ADMIN[0], "wrong")
    assert wrong.status_code == 401
    assert "The name or the password is wrong." in wrong.text
    assert "set-cookie" not in wrong.headers

    done = sign_in(fleet, *READER)
    assert (done.status_code, done.headers["location"]) == (303, "/ui")
    cookie = done.headers["set-cookie"]
    for words in ("HttpOnly", "SameSite=lax", "Path=/ui", f"Max-Age={SESSION_SECONDS}"):
        assert words in cookie, cookie
    assert READER[1] not in cookie

    page = get(fleet, "/ui")
    assert page.status_code == 200
    assert 'href="/ui/hosts/c1"' in page.text
    headers = {"Authorization": "", "Cookie": cookie.partition(";")[0]}
    assert fleet.http.get("/v1/hosts", headers=headers, auth=as_it_is).status_code == 401, "the cookie is for the page alone"

    out = fleet.http.post("/ui/sign-out", headers=FORM, auth=as_it_is)
    assert out.headers["location"] == "/ui/sign-in"
    assert get(fleet, "/ui").status_code == 303


def test_a_session_ends_when_its_account_is_removed(fleet: Fleet) -> None:
    assert sign_in(fleet, *READER).status_code == 303
    assert get(fleet, "/ui").status_code == 200
    assert fleet.services.checks is not None
    fleet.services.checks.doorkeeper.replace(())
    assert get(fleet, "/ui").status_code == 303


@pytest.mark.parametrize("origin", ["http://evil.example", "null", ""])
def test_a_form_of_another_site_is_refused(fleet: Fleet, origin: str) -> None:
    answer = sign_in(fleet, *ADMIN, Origin=origin)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_refused_sign_in_is_in_the_audit_log(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "pinfold.audit"):
        sign_in(fleet, "mallory", "guess")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "pinfold.audit"]
    assert '"event": "login", "account": "mallory"' in line
    assert "guess" not in line


def test_a_stranger_reads_on_the_fleet_page_what_to_look_at(fleet: Fleet) -> None:
    made = draw_fleet(fleet)
    mine = {host: {name: guest for name, guest in made.items() if name[0] == host} for host in "at"}
    assert "their answers appear here" in text_of(fleet.http.get("/ui")), "nobody has answered yet"
    answer(fleet.agents["adrift"], hour("adrift", mine["a"], hungry="a02-web", noisy="a07-web"))
    answer(fleet.agents["tight"], hour("tight", mine["t"]))
    page = fleet.http.get("/ui")
    assert re.findall(r'id="host-(\w+)"', page.text) == ["adrift", "tight", "roomy"], "its load counts as soon as it is known"
    text = text_of(page)
    assert "3 hosts" in text
    assert "Nearly out of overhead capacity by booking: tight, 966 of 1,000 millicpu are booked, " in text
    assert "Overhead pool full by load: adrift, 920 of 1,000 millicpu were used in the last minute and 700 waited for; 528 are " in text
    assert "Drift on adrift, guest a05-web: emulator thread 4711 (worker) may run on 0-39, should be on 0-1; first reported " in text
    starving = "Starving on adrift, guest a02-web: its emulator threads waited for pCPUs 0-1 for 62 % of the last minute"
    assert f"{starving}; the emulator threads of a07-web (90 % of one pCPU) ran there instead" in text
    best = "The next guest of flavor share-4, 4 vCPUs, fits best on roomy (pCPUs 12-15; 78 % of the overhead pool unbooked), then on"
    warned = (
        "adrift (pCPUs 26-29; 47 % of the overhead pool unbooked; but it has drift, starving threads and an overhead pool full by load)"
    )
    assert f"{best} {warned}. No room on tight: over" in text
    assert "next guest on pCPUs 12-15" in text, "marked on the map of roomy"
    assert "waited for pCPUs 0-1; drifted from pCPUs 0-1" in text, "marked on the map of adrift"
    assert "15 pCPUs stranded: no overhead left, too few in a cell" in text
    assert "Repair the drift first. Threads starve: see above." in text
    assert fleet.show(fleet.create("next", "share-4"))["OS-EXT-SRV-ATTR:host"] in ("roomy", "adrift"), "and there it goes"
    assert "worked 92 %, waited 70 %" in text
    assert re.search(r"first reported \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)
    host_page = text_of(fleet.http.get("/ui/hosts/adrift"))
    assert "should be on 0-1; first reported " in host_page
    assert "threads of a05-web belong here, and may run elsewhere now" in host_page


def test_the_fleet_is_sorted_by_what_one_looks_for(fleet: Fleet) -> None:
    fleet.flavor("share", vcpus=2, **SHARE)
    roomy, tight = fleet.host("roomy"), fleet.host("tight", report(cores=3))
    fleet.create("web", "share", host="tight")
    finds(roomy, STRAY, PART)
    finds(tight)

    def hosts(query: str) -> list[str]:
        return re.findall(r'id="host-(\w+)"', fleet.http.get(f"/ui{query}").text)

    assert hosts("") == ["tight", "roomy"], "least headroom first"
    assert hosts("?sort=drift") == ["roomy", "tight"]
    assert hosts("?sort=slots&flavor=share") == ["roomy", "tight"]
    assert hosts("?sort=score") == ["roomy", "tight"]
    assert hosts("?sort=nonsense") == ["tight", "roomy"]
    text = fleet.http.get("/ui?sort=drift").text
    assert "✗ 1" in text, "a note is no drift"
    assert "flavor=share" in fleet.http.get("/ui?flavor=share").text, "the orders keep the flavor"


def test_a_pool_that_is_full_by_load_and_not_by_booking_is_seen_in_score_order_and_sentence(fleet: Fleet) -> None:
    made = draw_fleet(fleet)
    finds(fleet.agents["adrift"])

    def order() -> list[str]:
        return re.findall(r'id="host-(\w+)"', fleet.http.get("/ui", params={"sort": "score"}).text)

    before = text_of(fleet.http.get("/ui", params={"sort": "score"}))
    assert order() == ["tight", "adrift", "roomy"]
    assert "full by load" not in before
    guests = {name: guest for name, guest in made.items() if name[0] == "r"}
    answer(fleet.agents["roomy"], hour("roomy", guests, hungry="r02-web", noisy="r04-web"))
    after = text_of(fleet.http.get("/ui", params={"sort": "score"}))
    assert order() == ["roomy", "tight", "adrift"], "hardly booked, but the pool works and waits for more than it has"
    assert "Overhead pool full by load: roomy" in after
    assert "The overhead pool is nearly full by load, not by booking: enlarge it" in after
    assert "but it has starving threads and an overhead pool full by load" in after, "where the next guest would go"


def test_hosts_that_no_page_shows_are_asked_in_turns_and_sorted_by_what_they_answer(fleet: Fleet) -> None:
    now = 0.0
    samples = Samples(clock=lambda: now)
    service = fleet.services.fleet.hosts
    ids = [HostId(fleet.host(f"h{place:02}").id) for place in range(OTHERS + 2)]
    asked = set()
    for _ in range(2):
        assert samples.lately(fleet.services.database, service, (), others=ids) == {}
        asked |= {agent.id for agent in fleet.agents.values() if agent.orders()["question"] is not None}
        now += ASK_SECONDS
    assert asked == set(ids), "after two rounds everybody was asked"
    answer(fleet.agents["h00"], hour("h00", {}, noisy="nobody"))
    now -= ASK_SECONDS
    samples.lately(fleet.services.database, service, [ids[0]], others=ids)
    assert samples.pressures()[ids[0]].millicpu > 900
    now += PRESSURE_SECONDS + 1
    assert samples.pressures() == {}, "what is old is forgotten"


def test_a_guest_is_found_by_a_part_of_its_name(fleet: Fleet) -> None:
    fleet.host("c1")
    web = fleet.create("web", fleet.flavor("share", vcpus=2, **SHARE), host="c1")
    found = fleet.http.get("/ui?guest=WE").text
    assert f'href="/ui/guests/{web}">web</a>: ' in found
    assert 'on <a href="/ui/hosts/c1">' in found
    for text in ("nobody", "%", "w_b", "/", "ö"):
        assert "No guest." in fleet.http.get("/ui", params={"guest": text}).text
    lift = fleet.create("ÖL_100%", "share", host="c1")
    for text in ("%", "l_1", "öl", "Ö"):
        assert f'href="/ui/guests/{lift}">' in fleet.http.get("/ui", params={"guest": text}).text


def test_the_parts_of_the_overhead_pool_show_what_is_booked_of_each(fleet: Fleet) -> None:
    fleet.host("whole", report(shared="0-1,8-9"))
    fleet.host("parts", report(shared="0-1,8-9", limits=replace(NO_RESERVE, locality=Locality.PREFER_LOCAL)))
    flavor = fleet.flavor("share", vcpus=2, **SHARE)
    for host_name in ("whole", "parts"):
        fleet.create(f"vm-{host_name}", flavor, host=host_name)

    def rows(name: str) -> list[str]:
        table = fleet.http.get(f"/ui/hosts/{name}").text.partition('id="pools-load"')[2].partition("</table>")[0]
        return [" ".join(re.sub("<[^>]*>", " ", row).split()) for row in table.split("<tr>") if "overhead" in row]

    assert [row.split(" ", 3)[3] for row in rows("whole")[1:]] == [
        "0-1 1,000 millicpu, booked with the whole pool not measured",
        "8-9 1,000 millicpu, booked with the whole pool not measured",
    ]
    whole, first, second = rows("parts")
    booked = int(whole.split(" ")[2])
    assert booked > 0
    assert sorted((first, second)) == [
        f"overhead, cell 0 0-1 {booked} of 1,000 millicpu not measured",
        "overhead, cell 1 8-9 0 of 1,000 millicpu not measured",
    ]
    assert f"of it on cell 0, pCPUs 0-1: {booked} of 1,000 millicpu booked" in fleet.http.get("/ui/hosts/parts").text
    parts = fleet.http.get("/v1/hosts/parts/map").json()["overhead"]["parts"]
    assert [(part["cell"], part["pool"], part["booked_millicpu"]) for part in parts] == [(0, "0-1", booked), (1, "8-9", 0)]
    assert "parts" not in fleet.http.get("/v1/hosts/whole/map").json()["overhead"]


def test_a_flavor_that_fits_nowhere_has_the_nearest_miss(fleet: Fleet) -> None:
    fleet.host("c1", report(cells=1, cores=2))
    fleet.flavor("large", vcpus=4, **SHARE)
    text = text_of(fleet.http.get("/ui"))
    assert "The next guest of flavor large, 4 vCPUs, fits on no host. The nearest miss: c1: " in text
    assert "cell 0 has 2 dedicated pCPUs, 4 needed" in text


def test_every_host_is_shown_against_every_constraint_the_nearest_miss_first(fleet: Fleet) -> None:
    fleet.host("small", report(cells=1, cores=2))
    fleet.host("smaller", report(cells=1, cores=1))
    fleet.host("away").ask("DELETE", "/host")
    fleet.flavor("large", vcpus=4, **SHARE)
    assert 'href="/ui/fits?flavor=large"' in fleet.http.get("/ui").text
    page = fleet.http.get("/ui/fits", params={"flavor": "large"})
    text = text_of(page)
    assert "Would a guest of flavor “large” fit?" in text
    assert "No: none of 3 hosts takes it. The nearest miss is small: " in text
    assert re.findall(r'href="/ui/hosts/(\w+)"', page.text) == ["small", "away", "smaller"]
    assert "✗ 2 of 4" in text and "cell 0 has 2 dedicated pCPUs, 4 needed" in text
    assert page.text.count('class="bad changed"') == 3, "one constraint of each host fails first"
    assert "the host is down" in text and "–" in text
    fleet.host("large", report(cells=1, cores=10))
    text = text_of(fleet.http.get("/ui/fits", params={"flavor": "large"}))
    assert "Yes: 1 of 4 hosts would take it, large best." in text and "it would go to pCPUs " in text
    assert fleet.http.get("/ui/fits", params={"flavor": "absent"}).status_code == 404


def test_a_server_in_error_has_a_page_of_what_was_refused_and_what_is_now(fleet: Fleet) -> None:
    fleet.host("small", report(cells=1, cores=2))
    guest = fleet.create("web", fleet.flavor("large", vcpus=4, **SHARE))
    assert f'href="/ui/guests/{guest}/fits"' in fleet.http.get(f"/ui/guests/{guest}").text
    text = text_of(fleet.http.get(f"/ui/guests/{guest}/fits"))
    assert (
        re.search(r"When it was refused, [-\d]+ [:\d]+ UTC host in service", text)
        and text.count("✗ 2 of 4") == 2
        and "The nearest miss is small" in text
    )
    fleet.host("roomy", report(cells=1, cores=10))
    assert "Yes: 1 of 2 hosts would take it, roomy best." in text_of(fleet.http.get(f"/ui/guests/{guest}/fits"))
    assert fleet.http.get("/ui/guests/absent/fits").status_code == 404


def test_a_fleet_without_hosts_says_so(fleet: Fleet) -> None:
    text = text_of(fleet.http.get("/ui"))
    assert "0 hosts" in text
    assert "there is no host" in text


def test_a_silent_host_is_not_asked_and_what_is_old_is_not_shown(fleet: Fleet) -> None:
    made = draw_fleet(fleet)
    with fleet.database.write() as connection:
        store_hosts.expire(connection, HostId(fleet.agents["tight"].id))
    text = text_of(fleet.http.get("/ui"))
    assert "Silent: tight; what runs there is not known" in text
    assert fleet.agents["tight"].orders()["question"] is None
    answer(fleet.agents["adrift"], hour("adrift", {name: guest for name, guest in made.items() if name[0] == "a"}, hungry="a02-web"))
    assert "Starving" in text_of(fleet.http.get("/ui"))
    later = Samples(clock=lambda: 1e9)
    later.lately(fleet.services.database, fleet.services.fleet.hosts, [HostId(fleet.agents["adrift"].id)])
    assert "Its agent is away" in text_of(fleet.http.get("/ui/hosts/tight"))


def test_a_host_page_shows_its_hour_when_its_agent_has_answered(fleet: Fleet) -> None:
    made = draw_fleet(fleet)
    before = text_of(fleet.http.get("/ui/hosts/adrift"))
    assert "Its agent was asked for its samples just now." in before
    answer(fleet.agents["adrift"], hour("adrift", {name: guest for name, guest in made.items() if name[0] == "a"}, hungry="a02-web"))
    page = fleet.http.get("/ui/hosts/adrift")
    text = text_of(page)
    assert "The last hour by pCPU" in text
    assert "The last hour by guest and class of threads" in text
    assert "Starving, guest a02-web: its emulator threads waited for pCPUs 0-1 for 62 % of the last minute" in text
    assert "To end it: give the overhead pool more pCPUs" in text and "Change the pools" in text
    (title,) = re.findall(r"<title>(pCPU 0, [^<]*)</title>", page.text)
    assert title.startswith("pCPU 0, shared and overhead: overhead threads; threads of a05-web belong here, and may run elsewhere now; ")
    assert title.endswith(" %, waited 70 %")
    assert page.text.count('class="pf-others"') == 2, "pCPU 7, which others took, and the legend"
    assert len(page.content) < 300_000


def test_a_host_page_has_the_map_the_same_as_a_table_and_the_repairs(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    fleet.create("web", fleet.flavor("share", vcpus=2, **SHARE), host="c1")
    c1.obey()
    assert "Its agent has reported no audit" in fleet.http.get("/ui/hosts/c1").text
    finds(c1, STRAY)
    text = fleet.http.get("/ui/hosts/c1").text
    assert "taskset -pc 2 71" in text
    assert text.count("<title>pCPU ") == 16
    assert len(re.findall(r'<tr><th scope="row" class="number"', text)) == 16
    assert ": vCPU 0 of web</title>" in text
    assert "<strong>A</strong></td>" in text
    assert fleet.http.get("/ui/hosts/absent").status_code == 404


def test_a_guest_page_shows_where_it_is_what_astray_and_what_to_run(fleet: Fleet) -> None:
    made = draw_fleet(fleet)
    guest, agent = made["a05-web"], fleet.agents["adrift"]
    text = text_of(fleet.http.get(f"/ui/guests/{guest}"))
    assert "a05-web: running" in text
    assert "Its agent has reported none." in text
    seen_threads(fleet, agent, guest, astray="0-39")
    answer(agent, hour("adrift", {"a05-web": guest}, hungry="a05-web"))
    page = fleet.http.get(f"/ui/guests/{guest}")
    text = text_of(page)
    assert "taskset -pc 0-1 4711" in text
    assert "4711 worker emulator ✗ 0-39 0-1" in text
    assert "75 % of its memory lies where it should be." in text
    assert "its emulator threads worked" in text
    assert "waited 62 %" in text
    assert page.text.count('class="pf-astray"') == 2, "its emulator threads, and its memory"
    assert "created" in text
    assert fleet.http.get("/ui/guests/absent").status_code == 404
    assert fleet.http.get("/ui/guests/absent/live").status_code == 404


def test_a_guest_without_a_host_has_a_page(fleet: Fleet) -> None:
    guest = fleet.create("web", fleet.flavor("share", vcpus=2, **SHARE))
    text = text_of(fleet.http.get(f"/ui/guests/{guest}"))
    assert "It holds no place now." in text
    assert "failed: " in text


def test_a_fleet_of_a_thousand_hosts_stays_a_page_of_fifty(fleet: Fleet) -> None:
    small = report(cores=4)
    with fleet.database.write() as connection:
        for number in range(1000):
            name = f"c{number:03}"
            store_hosts.register(connection, host_id=HostId(str(uuid4())), name=name, report=small, token_hash=name, lease_seconds=3600.0)
    for _ in range(2):
        page = fleet.http.get("/ui?sort=name&page=20")
        assert re.findall(r'id="host-(\w+)"', page.text) == [f"c{number}" for number in range(950, 1000)]
        assert "page 20 of 20" in page.text
        assert len(page.content) < 300_000
    with fleet.database.read() as connection:
        names = sa.select(host.c.name).select_from(host_history.join(host, host.c.id == host_history.c.host))
        asked = set(connection.execute(names).scalars())
    shown = {f"c{number}" for number in range(950, 1000)}
    assert shown <= asked, "the agents of the hosts that are shown are asked"
    assert len(asked - shown) <= OTHERS, "and with them the next few of the others, to sort the fleet by load"


def test_a_small_picture_is_drawn_once_for_a_state() -> None:
    pictures, c1 = Pictures(), HostId("c1")
    state = as_state(report())
    first = pictures.small(c1, state)
    assert pictures.small(c1, state) is first
    other = as_state(report(cores=3))
    assert pictures.small(c1, other) != first


class _Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_pages_have_no_inline_script_no_style_and_nothing_from_elsewhere(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    hostile = "</title><script>alert(1)</script>"
    guest = fleet.create(hostile, fleet.flavor("share", vcpus=2, **SHARE), host="c1")
    c1.obey()
    for path in ("/ui", "/ui/hosts/c1", f"/ui/guests/{guest}", "/ui/sign-in", "/ui?guest=%3Cscript"):
        page = fleet.http.get(path)
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        assert "<script>" not in page.text
        for tag, attributes in _Tags(page.text).found:
            assert tag != "style"
            assert "style" not in attributes
            assert not any(name.startswith("on") for name in attributes)
            for name in ("src", "href", "action"):
                assert (attributes.get(name) or "/").startswith(("/", "#")), attributes
    script = fleet.http.get("/ui/live.js")
    assert len(script.content) < 60 * 1024
    assert "charset=utf-8" in script.headers["content-type"]


def test_an_account_has_so_many_live_updates_and_no_more(fleet: Fleet) -> None:
    streams = fleet.services.streams
    for _ in range(STREAMS_PER_ACCOUNT):
        streams.enter(ADMIN[0])
    assert fleet.http.get("/ui/live").status_code == 429
    streams.leave(ADMIN[0])
    fleet.services.ended.set()
    answer = fleet.http.get("/ui/live")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == "retry: 3000\n\n"
    assert streams.has_room(ADMIN[0]), "the one that ended is not counted any more"


def test_a_stream_says_when_something_has_changed(fleet: Fleet) -> None:
    marks = iter(["1", "1", "2"])

    async def first_two() -> list[str]:
        stream = changes(fleet.services, "alice", lambda: next(marks))
        return [await anext(stream), await anext(stream)]

    assert asyncio.run(first_two()) == ["retry: 3000\n\n", CHANGED]


def test_a_stream_says_at_once_what_has_changed_since_its_page(fleet: Fleet) -> None:
    async def begin(seen: str) -> list[str]:
        stream = changes(fleet.services, "alice", lambda: "2", seen)
        return [await anext(stream), await anext(stream)]

    assert asyncio.run(begin("1")) == ["retry: 3000\n\n", CHANGED]


def test_the_mark_of_a_page_is_that_of_its_stream_in_every_order(fleet: Fleet) -> None:
    fleet.flavor("share", vcpus=2, **SHARE)
    fleet.host("c1")
    for sort in ORDERS:
        page = fleet.http.get("/ui", params={"sort": sort, "flavor": "share"})
        (seen,) = re.findall(r'data-live="/ui/live\?[^"]*seen=(-?\d+)"', page.text)
        assert fleet_mark(fleet.services, FleetQuery(sort=sort, flavor="share")) == seen


def test_a_stranger_is_not_asked_for_a_password_in_a_window_of_the_browser(fleet: Fleet) -> None:
    stream = fleet.http.get("/ui/live", headers={"Accept": "text/event-stream", "Authorization": ""}, auth=as_it_is)
    assert (stream.status_code, "www-authenticate" in stream.headers) == (401, False)
    assert "Sign in at /ui/sign-in." in stream.text


def test_sessions_expire_and_are_bounded() -> None:
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    alice = Account(name="alice", role=Role.ADMIN, hash="")
    tokens = [sessions.begin(alice) for _ in range(SESSIONS_PER_ACCOUNT + 1)]
    assert sessions.account(tokens[0]) is None
    assert sessions.account(tokens[1]) is alice
    sessions.end(tokens[1])
    assert sessions.account(tokens[1]) is None
    now[0] = SESSION_SECONDS
    assert sessions.account(tokens[-1]) is None
    others = [sessions.begin(Account(name=f"a{number}", role=Role.READER, hash="")) for number in range(MOST_SESSIONS + 1)]
    assert sessions.account(others[0]) is None
    assert sessions.account(others[-1]) is not None
