"""The small picture of a host: every pCPU once, and pools that differ by shape as well as by colour."""

from __future__ import annotations

from xml.etree import ElementTree

from msgspec.structs import replace
from tests.build.fits import fit
from tests.build.hosts import cpus, pools, state

from pinfold.core.host import Claim, Ledger
from pinfold.core.host_map import Observed, host_map
from pinfold.core.identity import GuestId
from pinfold.drawing.small import Marks, fleet_legend, small_picture


def test_each_pool_has_a_shape_of_its_own() -> None:
    found = replace(
        state("core:6 mem:1024", shared="0"),
        pools=replace(pools("0", "1-3", "0"), dedicated=cpus("1-3")),
        ledger=Ledger(claims=(Claim(guest=GuestId("g1"), fit=fit("2,4")),)),
    )
    picture = ElementTree.fromstring(small_picture(host_map(found, Observed(names={}, strangers=()))).svg)
    assert picture.get("aria-label") == "6 pCPUs, 2 held"
    signs = [(sign.tag.rpartition("}")[2], sign.get("class"), sign.get("rx"), sign.get("height")) for sign in picture]
    assert signs == [
        ("path", "pf-open pf-oS", None, None),
        ("rect", "pf-open pf-oD", None, "5"),
        ("rect", "pf-D", None, "5"),
        ("rect", "pf-open pf-oD", None, "5"),
        ("path", "pf-R", None, None),
        ("rect", "pf-open pf-oN", None, "1"),
    ]


def test_the_legend_names_every_sign() -> None:
    parts = ElementTree.fromstring(f"<p>{fleet_legend()}</p>")
    words = " ".join("".join(parts.itertext()).split())
    assert words == (
        "Overhead pool: booked used in the last minute waited for in the last minute more than the ceiling "
        "pCPUs: dedicated, held dedicated, free shared or overhead retiring: held, but no longer dedicated the host's own "
        "Marks: the next guest would go there waited for drift: recorded there, may run elsewhere"
    )


def test_marks_are_over_their_pcpus_and_inside_the_picture() -> None:
    drawn = small_picture(host_map(state("core:6 mem:1024", shared="0"), Observed(names={}, strangers=())))
    marks = Marks(next=cpus("2"), waited=cpus("0"), left=cpus("5,99"))
    plain, marked = (ElementTree.fromstring(text) for text in (drawn.svg, drawn.marked(marks)))
    width, height = (float(text) for text in marked.get("viewBox", "").split()[2:])
    cross, wait, frame = list(marked)[len(list(plain)) :]
    assert [one.get("class") for one in (cross, wait, frame)] == ["pf-l", "pf-wait", "pf-left"]
    assert cross.get("d", "").startswith(f"M{drawn.corners[2][0] + 2.5} ")
    for one, cpu in ((wait, 0), (frame, 5)):
        x, y, wide, high = (float(one.get(key, "")) for key in ("x", "y", "width", "height"))
        assert x == drawn.corners[cpu][0] - 1
        assert x >= 0 and y >= 0 and x + wide <= width and y + high <= height
    assert drawn.marked(Marks()) is drawn.svg
