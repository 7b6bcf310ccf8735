"""The page about a starving emulator: its files and commands, for tests that type them, and what they have to print."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from msgspec import Struct

PAGE: Final = Path(__file__).parents[1] / "docs/tutorial/starving-emulator.md"
_TWO_PCPUS: Final = (
    ("cpuset='3'", "cpuset='1'"),
    ("cpu_dedicated_set = 1-3\nEND", "cpu_dedicated_set = 1\nEND"),
    ("s/^cpu_dedicated_set = 1-3$/cpu_dedicated_set = 2-3/", "/^cpu_dedicated_set/d"),
)
"""What stands for the pCPUs of the page where there are two: the dedicated one, which the guest has, joins the pool."""


class Page(Struct, frozen=True):
    """The text of the page, as far as a machine has the pCPUs for it and KVM."""

    text: str

    @property
    def definition(self) -> str:
        """The guest."""
        return re.findall(r"^```xml\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)[0]

    def script(self, *, after: str) -> str:
        """All commands below that heading, as one script that ends at the first that fails and prints the heading before each part."""
        parts = [part.split("\n", 1) for part in self.text.split("\n## ")[1:]]
        names = [name for name, _ in parts]
        lines = ["set -e"]
        for name, body in parts[names.index(after) + 1 :]:
            lines += [f"echo '## {name}'", *re.findall(r"^```sh\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)]
        return "\n".join(lines)

    def part(self, heading: str) -> str:
        """The commands below one heading."""
        body = self.text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
        return "".join(re.findall(r"^```sh\n(.*?)^```$", body, re.MULTILINE | re.DOTALL))


def page(*, pcpus: int, kvm: bool) -> Page:
    """The page, word by word on a host with four pCPUs and KVM."""
    text = PAGE.read_text(encoding="utf-8")
    changes = [*(_TWO_PCPUS if pcpus < 4 else ()), *(() if kvm else (("<domain type='kvm'>", "<domain type='qemu'>"),))]
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    return Page(text)


def check(printed: str) -> None:
    """What the script printed is what the page says."""
    shown = {name: body for name, _, body in (part.partition("\n") for part in printed.split("\n## "))}
    first, second = delays(shown["See it starve"])
    assert second - first > 0.1, shown["See it starve"]  # much less than the page says, because a busy machine gives the load little time
    assert "✓ guest web is adopted" in shown["Adopt the guest"]
    assert masks(shown["Adopt the guest"]) == {"0"}
    moved = shown["Watch the threads move"]
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    sentence, threads = next(body for language, body in fences if not language).splitlines()
    assert sentence in " ".join(moved.split()), moved
    assert threads in " ".join(moved.split()), moved
    assert masks(moved) == {"0-1"}, moved
    assert re.search(r"^ *runs │ +e│", moved, re.MULTILINE), moved
    assert len(delays(moved)) == 2, moved
    assert "guest web is released" in " ".join(shown["Leave"].split())


def delays(printed: str) -> list[float]:
    """The seconds that the emulator had waited, as often as they were asked for."""
    return [
        float(value)
        for value in re.findall(r"^pinfold_guest_run_delay_seconds_total\{.*class=\"emulator\".*\} ([0-9.e+-]+)$", printed, re.M)
    ]


def masks(printed: str) -> set[str]:
    """Where the emulator threads may run, as `guest show` lists them."""
    return set(re.findall(r"^ *emulator +\S.* \d+ +([0-9,-]+) +[0-9,-]+ +✓", printed, re.MULTILINE))
