"""The demonstration of one host: three policies on real guests, proven in procfs; then a synthetic NUMA host filled until it refuses.

It runs the commands that a user would run, and prints each before it runs. What it starts it ends, also when it is interrupted.
`bin/demo` calls it after the set-up.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, cycle
from pathlib import Path
from typing import Final

from pinfold.core.encoding import reader
from pinfold.core.fit.answer import Fit
from pinfold.core.overhead import masks
from pinfold.lab import cgroup
from pinfold.lab.daemon import missing
from pinfold.lab.folder import LabFolder, labs, reap

PINFOLD: Final = Path(sys.executable).with_name("pinfold")
REAL: Final = "demo-real"
NUMA: Final = "demo-numa"
_INDENT: Final = "    "
_FIT: Final = reader(Fit)
POLICIES: Final = {
    "unset": ("pinned", "its emulator threads float over the guest's own pCPUs, beside the vCPU"),
    "share": ("share", "its emulator threads run on the overhead pool, none on the guest's pCPUs"),
    "isolate": ("isolate", "its emulator threads have one more dedicated pCPU, for this guest alone"),
}
MIX: Final = ("wide", "share", "cores", "isolate", "mixed", "pinned", "float")


class Failed(Exception):
    """A command ended otherwise than the demonstration expects."""


def main() -> int:
    """Run both parts. Returns the exit status."""
    lacking = missing()
    if lacking:
        print("demo: it starts real guests, and for that this machine lacks:", *lacking, sep="\n  - ")
        print("What needs none of that still works: bin/test --quick")
        return 1
    started = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    heading("pinfold: what it does on one host", "=")
    say(f"Every command below can be repeated; `pinfold` is {PINFOLD}.\n")
    try:
        three_policies()
        until_refused()
    except Failed as failure:
        print(f"demo: {failure}")
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted; what it started has ended")
        return 130
    heading("Done", "=")
    say(f"Both labs are down and no guest is left, after {time.monotonic() - started:.0f} seconds.")
    say("To go on by hand: `pinfold lab up NAME`, and do what it prints. README.md says where to read more.")
    return 0


def three_policies() -> None:
    """Each emulator policy on a real guest of the machine's own topology; procfs is the witness."""
    heading("1. The three emulator-thread policies, on real guests", "=")
    pcpus = len(os.sched_getaffinity(0))
    confined = cgroup.version(cgroup.hierarchies())
    if pcpus < 2:
        say("This machine has one pCPU: there is no second one to keep emulator threads apart on, so this part is left out.")
        return
    say(f"A private libvirt with this machine's own {pcpus} pCPUs; the machine's own libvirt, if it runs, is not touched.")
    say(
        "The guest is a ROM of 64 KiB. It boots in a tenth of a second and reads from a disk, so that QEMU makes worker threads as it runs."
    )
    print()
    with lab(REAL, "--real", *(["--no-cgroups"] if confined == "none" else [])) as folder:
        print_file(folder.configuration)
        for policy, (flavor, meaning) in POLICIES.items():
            heading(f"policy {policy}: {meaning}", "-")
            if policy == "isolate" and pcpus < 3:
                all_dedicated(folder)
            rom, disk = folder.path / "busy.rom", folder.path / "disk.raw"
            extra = ["--vcpus", "1", "--iothreads", "1", "--rom", str(rom), "--disk-file", str(disk)]
            pinfold("guest", "start", policy, "--flavor", flavor, *extra, last=1)
            time.sleep(0.5)  # for the first disk requests, and with them the worker threads
            pinfold("guest", "show", policy)
            kernels_word(policy)
            if policy == "share":
                stray(folder, policy)
            pinfold("guest", "stop", policy, "--remove")


def stray(folder: LabFolder, guest: str) -> None:
    """Somebody pins the emulator onto the vCPU's pCPU behind pinfold's back; the audit finds it, the repair puts it back."""
    say("Now somebody else's script pins the emulator threads onto the pCPU of the vCPU. libvirt does so, and never looks again:")
    print()
    command = ["virsh", "-c", folder.uri, "emulatorpin", guest, "1", "--live"]
    print(f"$ {shlex.join(command)}", flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"that ended with status {done.returncode}: {done.stderr.strip()}")
    print()
    pinfold("audit", expect=1)
    # Status 1 where something else of this machine is found too, such as another libvirt's guest on the same pCPU.
    pinfold("repair", expect=(0, 1))
    pinfold("audit", expect=(0, 1))


def kernels_word(guest: str) -> None:
    """The same without pinfold: how many threads of the guest's process may run where, as the kernel tells anybody."""
    done = subprocess.run([str(PINFOLD), "guest", "show", guest, "--json"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"`pinfold guest show {guest} --json` ended with status {done.returncode}: {done.stderr.strip()}")
    pid = json.loads(done.stdout)["guest"]["pid"]
    print(f"$ grep -h Cpus_allowed_list /proc/{pid}/task/*/status | sort | uniq -c")
    lines = (line for status in Path(f"/proc/{pid}/task").glob("*/status") for line in status.read_text().splitlines())
    for line, times in sorted(Counter(line for line in lines if line.startswith("Cpus_allowed_list")).items()):
        print(f"    {times:7} {line}")
    print(flush=True)


def until_refused() -> None:
    """A synthetic host of two cells, filled with a mix of flavors until one does not fit."""
    heading("2. A NUMA host of 32 pCPUs, filled until it refuses", "=")
    say("This one is synthetic: libvirt sees two sockets of eight cores with two threads each, most of which this machine lacks.")
    say("The guests are real; what is asked of absent pCPUs is recorded by a shim, not enforced, and pinfold labels that witness.")
    print()
    with lab(NUMA) as folder:
        print_file(folder.path / "flavors.toml", only="[flavors.wide")
        for number, flavor in zip(count(1), cycle(MIX), strict=False):
            if not start_one(folder, f"{flavor}{number}", flavor):
                break
        print()
        say(f"{number - 1} guests run, and the next, of flavor {flavor}, does not fit. The reasons, cell by cell:")
        pinfold("fit", "--flavor", flavor, expect=1)
        say("The host as it is now:")
        pinfold("host", "map")
        say("Every thread of every guest, against what was recorded:")
        pinfold("audit", last=2)


def start_one(folder: LabFolder, name: str, flavor: str) -> bool:
    """Start one guest and print where it went in one line. Returns whether it fitted."""
    command = ["guest", "start", name, "--flavor", flavor, "--rom", str(folder.path / "idle.rom")]
    print(f"$ pinfold {shlex.join(command)}", flush=True)
    done = subprocess.run([str(PINFOLD), *command, "--json"], capture_output=True, text=True, check=False)
    if done.returncode == 1:
        print("    refused", flush=True)
        return False
    if done.returncode != 0:
        raise Failed(f"that ended with status {done.returncode}: {done.stderr.strip()}")
    print(f"    running: {whereabouts(_FIT(json.loads(done.stdout)['guest']['record']['fit'], 'the record'))}", flush=True)
    return True


def whereabouts(fit: Fit) -> str:
    """Where a guest runs, in one line."""
    words = f"vCPUs on {', '.join(dict.fromkeys(str(cpus) for cpus in masks(fit).vcpus))}"
    if fit.idle_siblings:
        words += f"; kept idle {fit.idle_siblings}"
    return f"{words}; emulator threads on {fit.emulator}"


def all_dedicated(folder: LabFolder) -> None:
    """With two pCPUs, `isolate` needs both of them dedicated: another configuration, and no overhead pool."""
    other = folder.path / "isolate.conf"
    kept = [line for line in folder.configuration.read_text().splitlines() if not line.startswith(("#", "cpu_"))]
    at = kept.index("[compute]") + 1
    other.write_text("\n".join([*kept[:at], "cpu_dedicated_set = 0-1", *kept[at:]]) + "\n")
    say("One vCPU and an emulator pCPU of its own take two dedicated pCPUs, which is all that this machine has; so, another configuration:")
    use(other)
    print_file(other)


@contextmanager
def lab(name: str, *options: str) -> Iterator[LabFolder]:
    """A lab for the length of the block. Raises `Failed` when it is up already: another demonstration runs, or one was killed."""
    folder = LabFolder.named(name)
    reap()
    if folder.path.exists():
        raise Failed(f"lab {name} is up already; where no other demonstration runs, `pinfold lab down {name}` ends it")
    try:
        pinfold("lab", "up", name, *options, first=2)
        use(folder.configuration)
        yield folder
    finally:
        said = end(folder)
    print(f"$ pinfold lab down {name}\n    {said}\n", flush=True)


def end(folder: LabFolder) -> str:
    """End that lab where it is up or was left behind, and return what pinfold says. It prints nothing: standard output may be gone."""
    if folder not in labs():
        reap()  # what was killed as it began
        return ""
    done = subprocess.run([str(PINFOLD), "lab", "down", folder.path.name], capture_output=True, text=True, check=False)
    if done.returncode != 0 and folder.path.exists():
        raise Failed(f"lab {folder.path.name} does not end: {done.stderr.strip()}")
    return done.stdout.strip()


def pinfold(*arguments: str, expect: int | tuple[int, ...] = 0, first: int | None = None, last: int | None = None) -> None:
    """Print a command, run it, and print what it says: all, or its first or last lines unless it fails."""
    print(f"$ pinfold {shlex.join(arguments)}", flush=True)
    terminal = sys.stdout.isatty()
    columns = int(os.environ.get("COLUMNS") or (os.get_terminal_size().columns if terminal else 124))
    environment = {**os.environ, "COLUMNS": str(columns - len(_INDENT)), **({"FORCE_COLOR": "1"} if terminal else {})}
    done = subprocess.run(
        [str(PINFOLD), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=environment
    )
    lines = done.stdout.rstrip("\n").splitlines()
    expected = (expect,) if isinstance(expect, int) else expect
    if done.returncode not in expected:
        print(*(f"{_INDENT}{line}" for line in lines), sep="\n", flush=True)
        raise Failed(f"that ended with status {done.returncode}, not {' or '.join(map(str, expected))}")
    if first is not None:
        lines = lines[:first]
    if last is not None:
        lines = lines[-last:]
    print(*(f"{_INDENT}{line}".rstrip() for line in lines), "", sep="\n", flush=True)


def use(configuration: Path) -> None:
    """Let the commands that follow read that configuration."""
    print(f"$ export PINFOLD_CONFIG={configuration}")
    os.environ["PINFOLD_CONFIG"] = str(configuration)


def print_file(path: Path, *, only: str = "") -> None:
    """Print a file, without its comments; with `only`, those of its paragraphs that begin so."""
    chosen = [paragraph for paragraph in path.read_text().split("\n\n") if paragraph.startswith(only)]
    print(f"$ cat {path}" if not only else f"$ grep -A 7 '^\\{only}' {path}")
    for line in "\n".join(chosen).splitlines():
        if line and not line.startswith("#"):
            print(f"{_INDENT}{line}")
    print()


def heading(text: str, line: str) -> None:
    """Print a heading."""
    print(f"{text}\n{line * len(text)}", flush=True)


def say(text: str) -> None:
    """Print one line of explanation."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
