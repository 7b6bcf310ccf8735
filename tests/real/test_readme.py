"""The README's commands, typed as they stand there, in its order and in one shell. In the shell's network namespace the service's port is
free.

Ids, process numbers and a machine's own pCPUs differ from machine to machine, so what is compared of the printed answers is what does not:
the host map and the refusal on the synthetic host, and what is said of the guest on the real one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.rig.network_namespace import network_namespace

ROOT = Path(__file__).parents[2]
EXPECTED_STATUS = {"pinfold audit": (0, 1), "pinfold repair": (0, 1), "pinfold fit": (1,)}
"""Commands that may end otherwise than with 0: other guests of this machine, such as another test's, may be found too."""

pytestmark = [pytest.mark.real_libvirt, pytest.mark.real_placement, pytest.mark.real_clients, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Step:
    """One command of the README, and the lines that it says the command prints."""

    command: str
    shown: tuple[str, ...]


def steps() -> list[Step]:
    """Every line of the README that begins with `$`, in order."""
    found: list[Step] = []
    for block in re.findall(r"^```\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = part.rstrip("\n").split("\n")
            found.append(Step(command, tuple(shown)))
    return found


def test_the_commands_of_the_readme_do_what_it_shows(lab_possible: None, tmp_path: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one pCPU cannot be two pools")
    script = "".join(f'{typed(step.command)}\nprintf "\\n@status %s\\n" $?\n' for step in steps())
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PINFOLD", "PYTEST"))}
    environment = kept | {"PATH": path, "COLUMNS": "120"}
    with network_namespace() as namespace, namespace.inside():
        ran = subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    answers = re.split(r"^@status (\d+)\n", ran.stdout, flags=re.MULTILINE)[:-1]
    assert len(answers) == 2 * len(steps()), ran.stderr
    for step, printed, status in zip(steps(), answers[::2], answers[1::2], strict=True):
        allowed = next((value for start, value in EXPECTED_STATUS.items() if step.command.startswith(start)), (0,))
        assert int(status) in allowed, f"{step.command} ended with {status}: {printed}{ran.stderr}"
        for line in essential(step):
            assert line in printed, f"{step.command} does not print: {line}\n{printed}"


def typed(command: str) -> str:
    """A command as it is typed. The console's log is shown again until the guest has printed something."""
    if command.startswith("openstack console log show"):
        return f'for _ in $(seq 60); do shown=$({command}); [ -z "$shown" ] || break; sleep 1; done; echo "$shown"'
    return command


def essential(step: Step) -> list[str]:
    """The shown lines that are the same on every machine."""
    if step.command == "pinfold host map":
        return [line for line in step.shown if line]
    if step.command.startswith(("pinfold guest console-log", "openstack console log show")):
        return list(step.shown)
    if step.command.startswith("pinfold fit"):
        return list(step.shown[1:])
    if step.command == "pinfold audit":
        found = "the live definition puts the emulator on 1, recorded is 0"
        return [found if any(found in line for line in step.shown) else "as recorded"]
    return [line for line in step.shown if line.startswith("✓") and "of" not in line]
