"""The SVG of a host: golden pictures, escaped text, and what holds for every host. Look at a golden picture when it changes."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.build.fits import fit
from tests.build.hosts import cpus, pools, state, states
from tests.golden import check

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, FindingCode
from pinfold.core.host import Claim, Foreign, HostState, Ledger
from pinfold.core.host_map import HostMap, Observed, Owner, Stranger, host_map
from pinfold.core.identity import GuestId
from pinfold.core.ledger import Role
from pinfold.core.load import HostLoad, Load
from pinfold.core.overhead import ThreadClass
from pinfold.drawing.svg import STYLE, WIDTH, host_svg

_GOLDEN = Path(__file__).parent / "golden"
_SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert(1)</script>\x1b[2J\n\u202e&amp;\"'"


def _held(text: str, shared: str, *claims: Claim, names: dict[str, str] | None = None) -> HostMap:
    found = state(text, shared=shared, overhead=shared)
    held = replace(found, name="c07", pools=pools(shared, str(found.pools.dedicated), shared), ledger=Ledger(claims=claims))
    return host_map(held, Observed(names={GuestId(key): name for key, name in (names or {}).items()}, strangers=()))


def _claims() -> tuple[Claim, ...]:
    return (
        Claim(guest=GuestId("g1"), fit=fit("2-3,10-11", emulator="0-1,8-9")),
        Claim(guest=GuestId("g2"), fit=fit("4,12", pcpu=5, idle="13")),
    )


def _two() -> HostMap:
    return _held("core:2 mem:1024", "0", Claim(guest=GuestId("g1"), fit=fit("1", emulator="0")), names={"g1": "web"})


def _sixteen() -> HostMap:
    return _held("pack:2 core:4 pu:2 far mem:4096", "0-1,8-9", *_claims(), names={"g1": "web", "g2": "db"})


def _drifted() -> tuple[HostState, Observed, Finding]:
    found = replace(state("core:8 mem:1024", shared="0-1"), name="c07", ledger=Ledger(claims=(Claim(guest=GuestId("g1"), fit=fit("2-3")),)))
    finding = Finding(
        code=FindingCode.VCPU_THREAD,
        guest="web",
        guest_id="g1",
        tid=71,
        thread="CPU 1/KVM",
        thread_class=ThreadClass.VCPU,
        recorded="3",
        observed="0-1",
        repair="taskset -pc 3 71",
    )
    stray = Owner(guest=GuestId("n1"), name="nova-1", role=Role.FOREIGN, thread_class=ThreadClass.VCPU, vcpu=0, stray=True)
    observed = Observed(
        names={GuestId("g1"): "web"},
        strangers=(Stranger(held=((5, stray),), floats=2, floating=cpus("0-1"), overhead=cpus("1")),),
        findings=(finding,),
        judged=frozenset({GuestId("g1")}),
    )
    return found, observed, finding


def _strays() -> tuple[HostMap, tuple[Finding, ...]]:
    """Emulator threads of one guest on the pCPUs of another, a process of the host, and vhost threads in the pool where they belong."""
    held = replace(
        state("pack:2 core:4 pu:2 far mem:4096", shared="0-1,8-9", overhead="0-1,8-9"), name="c07", ledger=Ledger(claims=_claims())
    )
    worker = Finding(
        code=FindingCode.EMULATOR_THREAD,
        guest="db",
        guest_id="g2",
        tid=71,
        thread="worker",
        thread_class=ThreadClass.EMULATOR,
        recorded="5",
        observed="2-5",
        repair="taskset -pc 5 71",
    )
    make = Finding(
        code=FindingCode.FOREIGN_PROCESS,
        tid=812,
        thread="make",
        subject="process",
        recorded="0-1,8-9",
        observed="4,14-15",
        repair="taskset -apc 0-1,8-9 812",
    )
    named = {GuestId("g1"): "web", GuestId("g2"): "db"}
    both = frozenset({GuestId("g1"), GuestId("g2")})
    observed = Observed(names=named, strangers=(), findings=(worker, make), judged=both, vhost=cpus("0-1,8-9"))
    return host_map(held, observed), (worker, make)


def _of(name: str) -> str:
    match name:
        case "strays":
            chart, found = _strays()
            return host_svg(chart, drift=found)
        case "two-pcpus":
            return host_svg(_two())
        case "sixteen-pcpus":
            return host_svg(_sixteen())
        case "caches":
            return host_svg(_held("pack:2 core:4 pu:2 far cache:2 mem:4096", "0-1,8-9", *_claims(), names={"g1": "web", "g2": "db"}))
        case "drift":
            held, observed, finding = _drifted()
            return host_svg(host_map(held, observed), drift=(finding,), notice="what runs now is not known: the host is silent")
        case _:
            claims = (Claim(guest=GuestId("g1"), fit=fit("2-3,258-259", emulator="0-1,256-257")),)
            return host_svg(_held("pack:2 cell:4 core:32 pu:2 far mem:65536", "0-1,256-257", *claims, names={"g1": "web"}))


@pytest.mark.parametrize("name", ["two-pcpus", "sixteen-pcpus", "caches", "drift", "strays", "512-pcpus"])
def test_a_picture_is_the_one_that_was_looked_at(name: str) -> None:
    check(_GOLDEN / f"{name}.svg", _of(name))


@pytest.mark.parametrize(("file", "name"), [("host-map", "caches"), ("host-map-strays", "strays")])
def test_the_pictures_in_the_documentation_are_some_of_them(file: str, name: str) -> None:
    check(Path(__file__).parents[2] / f"docs/how-to/pictures/{file}.svg", _of(name))


@pytest.mark.parametrize(("name", "pcpus"), [("two-pcpus", 2), ("sixteen-pcpus", 16), ("caches", 16), ("drift", 8), ("strays", 16)])
def test_every_pcpu_is_in_the_picture_once_with_a_sentence(name: str, pcpus: int) -> None:
    titles = [found.text or "" for found in ElementTree.fromstring(_of(name)).iter(f"{_SVG}title")]
    assert sorted(int(re.findall(r"^pCPU (\d+), ", title)[0]) for title in titles) == list(range(pcpus))


def test_a_recorded_place_whose_thread_may_run_elsewhere_has_an_outline_and_its_repair() -> None:
    text = _of("drift")
    titles = [found.text for found in ElementTree.fromstring(text).iter(f"{_SVG}title")]
    assert "pCPU 3, dedicated: vCPU 1 of web" not in titles
    assert "pCPU 3, dedicated: vCPU 1 of web, which may run elsewhere now" in titles
    assert "pCPU 5, dedicated: vCPU 0 of nova-1, pinned here although it belongs elsewhere" in titles
    assert text.count('class="pf-wrong"') == 3, "two places and the legend"
    assert "taskset -pc 3 71" in text


def test_a_pcpu_names_the_strays_on_it_and_their_repair() -> None:
    text = _of("strays")
    titles = [found.text or "" for found in ElementTree.fromstring(text).iter(f"{_SVG}title")]
    assert "pCPU 3, dedicated: vCPU 1 of web; emulator threads of db may run here, and belong elsewhere" in titles
    assert "pCPU 15, dedicated: free; process 812 (make) may run here, and belongs elsewhere" in titles
    assert "pCPU 0, shared and overhead: overhead threads; vhost threads" in titles
    assert text.count('class="pf-stray"') == 5 + 1, "pCPUs 2-4, 14-15 and the legend"
    assert "taskset -pc 5 71" in text
    assert 'class="pf-stray"' not in _of("sixteen-pcpus"), "agreement is quiet"


def test_a_large_host_has_one_line_for_cores_that_are_alike() -> None:
    text = _of("512-pcpus")
    drawn = [found.text or "" for found in ElementTree.fromstring(text).iter(f"{_SVG}title")]
    assert len(drawn) < 40
    assert "32 cores alike: pCPUs 32-63,288-319" in text
    assert {"pCPU 2, dedicated: vCPU 0 of web", "pCPU 259, dedicated: vCPU 3 of web"} <= set(drawn), "what somebody holds is drawn"


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, 255), max_size=6), st.sets(st.integers(0, 255), max_size=6))
def test_folding_hides_no_pcpu_that_differs(held: set[int], waited: set[int]) -> None:
    found = state("pack:2 core:64 pu:2 far mem:4096", shared="")
    claims = tuple(Claim(guest=GuestId(f"g{cpu}"), fit=fit(str(cpu))) for cpu in sorted(held))
    chart = host_map(replace(found, ledger=Ledger(claims=claims)), Observed(names={}, strangers=()))
    load = HostLoad(ended=0.0, pcpus={cpu: Load(wait=500) for cpu in waited}, pools={}, guests={}, names={})
    text = host_svg(chart, load=load)
    titles = [one.text or "" for one in ElementTree.fromstring(text).iter(f"{_SVG}title")]
    drawn = {int(re.findall(r"^pCPU (\d+), ", title)[0]) for title in titles}
    alike = [CpuSet.parse(one) for one in re.findall(r"cores alike: pCPUs ([0-9,-]+)", text)]
    assert drawn | {cpu for cpus in alike for cpu in cpus} == set(range(256))
    for some in alike:
        assert not held & set(some)
        assert not waited & set(some) or set(some) <= waited


def test_unknown_is_drawn_as_unknown() -> None:
    held = replace(state("core:4", shared="0-1"), ledger=Ledger(foreign=(Foreign(name="other", cpus=cpus("3")),)))
    titles = [found.text for found in ElementTree.fromstring(host_svg(host_map(held, Observed(names={})))).iter(f"{_SVG}title")]
    assert titles == [
        "pCPU 0, shared: not known what runs",
        "pCPU 1, shared: not known what runs",
        "pCPU 2, dedicated: free",
        "pCPU 3, dedicated: held by other, not known by which thread",
    ]


def test_text_from_outside_stays_text() -> None:
    named = _held("core:2 mem:1024", "0", Claim(guest=GuestId("g1"), fit=fit("1")), names={"g1": HOSTILE})
    finding = Finding(code=FindingCode.FOREIGN_PROCESS, tid=9, thread=HOSTILE, subject="process", observed="1", repair=HOSTILE)
    text = host_svg(replace(named, host=HOSTILE), drift=(finding,), notice=HOSTILE)
    assert {element.tag.removeprefix(_SVG) for element in ElementTree.fromstring(text).iter()} <= {
        *("svg", "style", "rect", "text", "g", "title", "path", "circle")
    }
    assert "<script" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_page_that_forbids_styles_gets_a_picture_without() -> None:
    assert "<style" in host_svg(_two())
    bare = host_svg(_two(), styled=False)
    assert "<style" not in bare
    assert "style=" not in bare


def _luminance(colour: str) -> float:
    """The relative luminance of WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_in_pictures_has_a_contrast_of_four_and_a_half(dark: bool) -> None:
    light, night = STYLE.split("@media")
    rules = re.findall(r"([^{}]+)\{[^}]*?fill:(#[0-9a-f]{6})", light + (night.partition("{")[2] if dark else ""))
    fills = {name.strip().removeprefix(".pf "): fill for names, fill in rules for name in names.split(",")}
    papers = (".pf-paper", ".pf-box", ".pf-h1")
    pairs = [*(("text", paper) for paper in papers), *((".pf-m", paper) for paper in papers[:2]), (".pf-sw", ".pf-stray")]
    for text, paper in pairs:
        one, other = sorted((_luminance(fills[text]), _luminance(fills[paper])))
        assert (other + 0.05) / (one + 0.05) >= 4.5, (text, paper)


@settings(max_examples=50, deadline=None)
@given(states(), st.booleans())
def test_every_host_makes_xml_within_its_width(made: HostState, known: bool) -> None:
    chart = host_map(made, Observed(names={}, strangers=() if known else None))
    text = host_svg(chart)
    assert text == host_svg(chart)
    root = ElementTree.fromstring(text)
    for rect in root.iter(f"{_SVG}rect"):
        assert int(rect.get("x", "0")) + int(rect.get("width", "0")) <= WIDTH
