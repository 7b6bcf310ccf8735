"""`python -m docs.screens`: the pictures of the web page's views, of three hosts with forty guests in a headless Chromium.

The application is the real one, in this process, on SQLite with Placement embedded; `tests.rig.drawn_fleet` plays the agents.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace
from playwright.sync_api import Browser, Page
from tests.rig.browser import chromium, opened, sign_in
from tests.rig.client import SHARE
from tests.rig.drawn_fleet import answer, draw_fleet, hour, seen_threads
from tests.rig.in_process import Fleet, open_fleet
from tests.rig.served_fleet import served_fleet

from pinfold.accounting.embedded import EmbeddedPlacement, load, unload
from pinfold.core.cpuset import CpuSet
from pinfold.store.database import Database, upgrade

PICTURES: Final = Path(__file__).parent / "how-to" / "pictures"
VIEWS: Final = {
    "fleet": "/ui",
    "host": "/ui/hosts/adrift",
    "hour": "/ui/hosts/adrift#by-pcpu-title",
    "guest": "/ui/guests/{a05-web}",
    "starving-guest": "/ui/guests/{a02-web}",
    "repair": "/ui/guests/{a05-web}/repair",
    "repin": "/ui/hosts/roomy/repin",
    "pools": "/ui/hosts/adrift/pools?shared=0-2&dedicated=3-39&overhead=0-2",
    "refusals": "/ui/fits?flavor=share-16",
    "refused-guest": "/ui/guests/{huge}/fits",
    "disable": "/ui/hosts/adrift/disable",
    "sign-in": "/ui/sign-in",
}
"""Each view and its path; a guest's name stands for its id, and a picture begins at the element that the path names."""
SHAPES: Final = {"light": (1280, "light"), "dark": (1280, "dark"), "narrow": (390, "light")}
"""The shapes of a picture: how wide the window is in pixels, and the preference of its colours."""
KEPT: Final = ("light", "dark")
"""Those that the documentation has. The narrow one is for looking at."""
_MOST_HEIGHT: Final = 1500


def picture(view: str, shape: str) -> str:
    """The name of a picture's file."""
    return f"{view}-{shape}.png"


def main() -> int:
    """Write every picture."""
    parser = argparse.ArgumentParser(prog="python -m docs.screens", description="Make the pictures of the web page.")
    parser.add_argument("--folder", type=Path, default=PICTURES, help="where they are written")
    parser.add_argument("--view", action="append", choices=VIEWS, help="make those of this view alone; may be repeated")
    parser.add_argument("--shape", action="append", choices=SHAPES, help=f"make these shapes; default: {', '.join(KEPT)}")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with _fleet() as (fleet, made), served_fleet(fleet) as url, chromium() as browser:
        for shape in asked.shape or KEPT:
            _draw(browser, url, fleet, made, shape, asked.view or list(VIEWS), asked.folder)
    return 0


def _draw(browser: Browser, url: str, fleet: Fleet, made: dict[str, str], shape: str, views: list[str], folder: Path) -> None:
    width, scheme = SHAPES[shape]
    with opened(browser, url, viewport={"width": width, "height": 900}, color_scheme=scheme) as page:
        sign_in(page)
        for view in views:
            path = VIEWS[view]
            for name, guest in made.items():
                path = path.replace(f"{{{name}}}", guest)
            fleet.http.get(path)  # so that the agents are asked
            _told(fleet, made)
            page.goto(path)
            page.screenshot(path=folder / picture(view, shape), clip=_clip(page, width, path.partition("#")[2]), full_page=True)


def _clip(page: Page, width: int, first: str) -> dict[str, float]:
    height = int(page.evaluate("document.documentElement.scrollHeight"))
    top = int(page.evaluate(f"document.getElementById('{first}').getBoundingClientRect().top + scrollY - 16")) if first else 0
    return {"x": 0, "y": top, "width": width, "height": min(height - top, _MOST_HEIGHT)}


@contextmanager
def _fleet() -> Iterator[tuple[Fleet, dict[str, str]]]:
    """The fleet, and the ids of its guests by name."""
    with tempfile.TemporaryDirectory(prefix="pf-screens-") as name:
        folder = Path(name)
        tables = folder / "tables.db"
        database = Database(f"sqlite:///{tables}")
        upgrade(database)
        database.close()
        with open_fleet(folder, tables, load(EmbeddedPlacement(url=f"sqlite:///{folder}/placement.db"))) as fleet:
            yield fleet, _drawn(fleet)
        unload()


def _drawn(fleet: Fleet) -> dict[str, str]:
    """Three hosts with forty guests, what their agents tell at once, and two pCPUs of guests that retire."""
    made = draw_fleet(fleet)
    fleet.flavor("share-16", vcpus=16, **SHARE)
    made["huge"] = fleet.create("huge", fleet.flavor("share-24", vcpus=24, **SHARE))
    seen_threads(fleet, fleet.agents["adrift"], made["a05-web"], astray="0-39")
    seen_threads(fleet, fleet.agents["adrift"], made["a02-web"])
    roomy = fleet.agents["roomy"]
    retiring = CpuSet(roomy.order(made[name])["claim"]["fit"]["cells"][0]["pins"][0][1] for name in ("r01-web", "r03-db"))
    pools = roomy.reported.pools
    roomy.hello(replace(roomy.reported, pools=replace(pools, dedicated=pools.dedicated - retiring)))
    return made


def _told(fleet: Fleet, made: dict[str, str]) -> None:
    """Every agent that is asked for its samples answers."""
    for host, agent in fleet.agents.items():
        if agent.orders()["question"] is not None:
            guests = {key: guest for key, guest in made.items() if key[0] == host[0]}
            found = hour(host, guests, hungry="a02-web", noisy="a07-web") if host == "adrift" else hour(host, guests)
            late = time.time() - found.ends[-1]
            answer(agent, replace(found, ends=tuple(end + late for end in found.ends)))


if __name__ == "__main__":
    sys.exit(main())
