"""`--connect processes:` on QEMU started by hand: found, shown, audited, repaired by the printed commands and by `pinfold repair`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from tests.real.patience import until
from tests.real.processes.conftest import Bench, Hand

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.overhead import Masks
from pinfold.drivers import registry
from pinfold.drivers.port import Driver, HostGuest
from pinfold.drivers.processes import last_answer, monitor, search
from pinfold.drivers.processes.monitor import Answer
from pinfold.drivers.processes.threads import Threads
from pinfold.linux import procfs


def classes(shown: Any) -> dict[str, int]:
    """How many threads of each class a document shows."""
    found: dict[str, int] = {}
    for thread in shown["threads"]:
        found[thread["thread_class"]] = found.get(thread["thread_class"], 0) + 1
    return found


def masks(pid: int) -> set[str]:
    """The masks of a process's threads, as the kernel has them."""
    return {str(CpuSet(os.sched_getaffinity(int(tid)))) for tid in os.listdir(f"/proc/{pid}/task")}


def test_a_guest_is_listed_with_what_its_command_line_tells(bench: Bench, kind: str) -> None:
    hand = bench.start(kind)
    (guest,) = [one for one in json.loads(bench.pinfold("guest", "list", "--json"))["guests"] if one["name"] == hand.name]
    assert (guest["id"], guest["vcpus"], guest["memory_mib"], guest["state"]) == (hand.id, 2, 16, "paused")
    assert hand.name in bench.pinfold("guest", "list")


def test_a_guest_that_runs_is_said_to_run(bench: Bench, kind: str) -> None:
    hand = bench.start(kind, paused=False)
    assert bench.shown(hand)["guest"]["state"] == "running"
    os.kill(hand.pid, signal.SIGSTOP)
    until(lambda: procfs.state(hand.pid) == "T", "it is stopped")
    stopped = bench.shown(hand)
    os.kill(hand.pid, signal.SIGCONT)
    assert stopped["guest"]["state"] == "paused"


@pytest.mark.parametrize(("monitor", "names"), [(True, True), (True, False), (False, True)], ids=["both", "monitor", "names"])
def test_threads_are_told_by_the_monitor_or_by_name(bench: Bench, kind: str, *, monitor: bool, names: bool) -> None:
    hand = bench.start(kind, "-object", "iothread,id=io0", monitor=monitor, names=names)
    shown = bench.shown(hand)
    found = classes(shown)
    assert (found["vcpu"], found["iothread"], "unknown" in found) == (2, 1, False)
    assert {thread["vcpu"] for thread in shown["threads"] if thread["thread_class"] == "vcpu"} == {0, 1}


def test_what_neither_tells_is_unknown_and_is_shown_and_not_moved(bench: Bench, kind: str) -> None:
    hand = bench.start(kind, monitor=False, names=False)
    shown = bench.shown(hand)
    unknown = [thread for thread in shown["threads"] if thread["thread_class"] == "unknown"]
    assert len(unknown) >= 2
    moved, left = shown["findings"]
    assert moved["repair"] and not left["repair"]
    assert "debug-threads=on" in left["advice"]
    assert not any(str(thread["tid"]) in moved["repair"].split() for thread in unknown)
    assert "unknown" in bench.pinfold("guest", "show", hand.name, status=1)
    bench.pinfold("repair", hand.name, status=1)
    assert all(os.sched_getaffinity(thread["tid"]) == {0, 1} for thread in unknown)
    assert os.sched_getaffinity(hand.pid) == {0}


def test_a_thread_that_runs_several_vcpus_is_unknown(bench: Bench) -> None:
    hand = bench.start("tcg,thread=single")
    assert classes(bench.shown(hand)).get("vcpu") is None
    assert classes(bench.shown(hand))["unknown"] == 1


def test_a_monitor_that_another_client_holds_does_not_hang_and_names_serve(bench: Bench, kind: str) -> None:
    hand = bench.start(kind)
    with socket.socket(socket.AF_UNIX) as holder:
        holder.connect(hand.socket)
        assert b"QMP" in holder.recv(4096)
        assert classes(bench.shown(hand))["vcpu"] == 2
        holder.sendall(b'{"execute": "qmp_capabilities"}\n')
        assert b"return" in holder.recv(4096), "the client that holds it is not disturbed"
    until(lambda: bench.shown(hand)["guest"]["state"] == "paused", "it answers again after the other client has gone")


def test_the_printed_command_undoes_what_it_is_printed_for(bench: Bench, kind: str) -> None:
    hand = bench.start(kind, "-object", "iothread,id=io0", "-object", "iothread,id=iothread7")
    judged = bench.audited(hand)
    (finding,) = judged["findings"]
    assert (finding["code"], finding["observed"]) == ("foreign-floating", "1")
    subprocess.run(["sh", "-c", finding["repair"]], check=True, capture_output=True)
    assert masks(hand.pid) == {"0"}
    assert bench.audited(hand)["findings"] == []


def test_a_repair_moves_every_thread_of_one_guest(bench: Bench, kind: str) -> None:
    hand, other = bench.start(kind, "-object", "iothread,id=io0"), bench.start(kind)
    document = json.loads(bench.pinfold("repair", hand.name, "--json"))
    assert ([one["guest"]["name"] for one in document["repaired"]], document["repaired"][0]["left"]) == ([hand.name], [])
    assert masks(hand.pid) == {"0"}
    assert masks(other.pid) == {"0-1"}


def test_a_vcpu_with_one_pcpu_is_pinned_and_holds_it(bench: Bench, kind: str) -> None:
    hand = bench.start(kind, vcpus=1)
    vcpu = next(thread for thread in bench.shown(hand)["threads"] if thread["thread_class"] == "vcpu")
    for tid in os.listdir(f"/proc/{hand.pid}/task"):
        os.sched_setaffinity(int(tid), {1 if int(tid) == vcpu["tid"] else 0})
    assert bench.audited(hand)["findings"] == []
    host = json.loads(bench.pinfold("host", "map", "--json"))
    (pcpu,) = [pcpu for cell in host["cells"] for core in cell["cores"] for pcpu in core["pcpus"] if pcpu["pcpu"] == 1]
    assert hand.name in {use["name"] for use in pcpu["owners"]}


def test_a_process_of_another_pid_namespace_is_told_by_our_thread_ids(bench: Bench, kind: str) -> None:
    before = ("unshare", "--pid", "--fork", "--kill-child")
    hand = bench.start(kind, names=False, before=before)
    shown = bench.shown(hand)
    assert (classes(shown)["vcpu"], "unknown" in classes(shown)) == (2, False)
    assert {thread["tid"] for thread in shown["threads"]} == {int(tid) for tid in os.listdir(f"/proc/{hand.pid}/task")}


def test_a_monitor_in_a_mount_namespace_of_its_own_is_asked_there(bench: Bench, kind: str) -> None:
    sockets = bench.folder / "sockets"
    before = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", f'mount -t tmpfs own {sockets}; exec "$@"', "sh")
    hand = bench.start(kind, names=False, before=before)
    assert list(sockets.iterdir()) == [], "nobody sees it outside"
    assert classes(bench.shown(hand))["vcpu"] == 2


def test_two_processes_with_one_id_are_told_apart(bench: Bench) -> None:
    first = bench.start("tcg")
    second = bench.start("tcg", "-uuid", first.id)
    found = {one["name"]: one["id"] for one in json.loads(bench.pinfold("guest", "list", "--json"))["guests"]}
    assert (found[first.name], found[second.name]) == (f"pid-{first.pid}", f"pid-{second.pid}")
    assert f"process {second.pid}" in bench.pinfold("guest", "show", f"pid-{second.pid}", status=1)


def test_a_name_that_does_not_print_is_shown_escaped(bench: Bench) -> None:
    hand = bench.start("tcg", "-name", "a\x1b[2Jb,debug-threads=on")
    shown = bench.pinfold("guest", "show", hand.id, status=1)
    assert "\x1b[2J" not in shown
    assert "\x1b[2J" not in bench.pinfold("guest", "list")


def test_a_process_that_only_calls_itself_qemu_is_no_guest(bench: Bench) -> None:
    process = subprocess.Popen(["qemu-system-x86_64", "600"], executable="/bin/sleep")
    try:
        assert process.pid not in {one.pid for one in search.processes()}
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "words",
    [
        ("guest", "start", "new", "--vcpus", "1", "--ram", "16", "--kernel", "/etc/hostname"),
        ("fit", "--vcpus", "1", "--ram", "16", "--xml"),
    ],
    ids=["start", "definition"],
)
def test_a_start_is_refused_in_one_sentence(bench: Bench, words: tuple[str, ...]) -> None:
    done = bench.run(*words)
    assert done.returncode == 2
    assert "at processes: because only threads are watched and moved there" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_every_act_on_a_life_is_refused(bench: Bench) -> None:
    hand = bench.start("tcg")
    driver = registry.open_driver("processes:")
    for act in (driver.restart, driver.resume, driver.shut_down, lambda guest: driver.stop(guest, remove=True)):
        with pytest.raises(InvalidRequest, match="because only threads are watched and moved there"):
            act(hand.id)
    assert hand.process.poll() is None
    with pytest.raises(InvalidRequest, match="'processes:x' is not allowed; processes: is"):
        registry.open_driver("processes:x")


def test_no_thread_of_a_process_that_took_over_the_id_is_moved(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    hand = bench.start("tcg")
    (process,) = [one for one in search.processes() if one.pid == hand.pid]
    old = msgspec.structs.replace(process, start_ticks=process.start_ticks - 1)
    assert Threads().look(old).observation.threads == ()
    monkeypatch.setattr(search, "is_still", lambda one: False)
    with pytest.raises(Unavailable, match="ended while its threads were moved"):
        registry.open_driver("processes:").pin(hand.id, Masks(vcpus=(CpuSet.of(0),) * 2, overhead=CpuSet.of(0)))
    assert masks(hand.pid) == {"0-1"}


def test_pins_that_the_host_lacks_are_refused(bench: Bench) -> None:
    hand = bench.start("tcg")
    with pytest.raises(InvalidRequest, match="pCPU 4000 is not online"):
        registry.open_driver("processes:").pin(hand.id, Masks(vcpus=(CpuSet.of(4000),) * 2, overhead=CpuSet.of(0)))


def test_a_guest_that_has_gone_has_no_threads_and_cannot_be_pinned(bench: Bench) -> None:
    hand = bench.start("tcg")
    driver = registry.open_driver("processes:")
    (guest,) = [one for one in driver.guests() if one.id == hand.id]
    os.kill(hand.pid, signal.SIGKILL)
    hand.process.wait()
    assert driver.observe(guest).threads == ()
    with pytest.raises(InvalidRequest, match="any more"):
        driver.pin(guest.id, Masks(vcpus=(CpuSet.of(0),) * 2, overhead=CpuSet.of(0)))


@pytest.mark.parametrize("pinned", [False, True], ids=["it floats", "a vCPU is pinned"])
def test_a_repair_of_one_guest_says_what_it_leaves(bench: Bench, pinned: bool) -> None:
    config = bench.folder / "pinfold.conf"
    config.write_text(config.read_text().replace("cpu_shared_set = 0\ncpu_dedicated_set = 1", "cpu_dedicated_set = 0-1"))
    hand = bench.start("tcg")
    if pinned:
        threads = bench.shown(hand)["threads"]
        os.sched_setaffinity(next(thread["tid"] for thread in threads if thread["thread_class"] == "vcpu"), {1})
    before = masks(hand.pid)
    told = bench.pinfold("repair", hand.name, status=1)
    assert "may run on the dedicated" in told
    assert "✓" not in told
    assert masks(hand.pid) == before


def test_without_pools_pinned_guests_are_not_called_healthy(bench: Bench) -> None:
    config = bench.folder / "pinfold.conf"
    config.write_text(config.read_text().replace("cpu_shared_set = 0\ncpu_dedicated_set = 1\n", ""))
    hand = bench.start("tcg")
    for tid in os.listdir(f"/proc/{hand.pid}/task"):
        os.sched_setaffinity(int(tid), {1})
    told = " ".join(bench.pinfold("audit", status=1).split())
    assert "neither cpu_shared_set nor cpu_dedicated_set is set" in told
    assert hand.name in told


def test_the_guests_of_a_lab_are_its_own_libvirts(bench: Bench, lab_name: str, lab_possible: None) -> None:
    pinfold = [sys.executable, "-m", "pinfold.wiring.command"]
    name = f"{lab_name}-own"
    up = subprocess.run([*pinfold, "lab", "up", name, "--real", "--no-cgroups", "--json"], check=True, capture_output=True, text=True)
    lab = json.loads(up.stdout)["labs"][0]
    try:
        start = [*pinfold, "guest", "start", "kept", "--vcpus", "1", "--ram", "16", "--rom", lab["rom"], "--config", lab["config"]]
        subprocess.run(start, check=True, capture_output=True)
        assert "kept" not in bench.pinfold("guest", "list")
    finally:
        subprocess.run([*pinfold, "lab", "down", name], check=True, capture_output=True)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor may be asked again without a pause."""
    for name in ("SHORTEST_SECONDS", "SAMPLE_SECONDS"):
        monkeypatch.setattr(last_answer, name, 0.0)


@contextmanager
def asking(hand: Hand) -> Iterator[Callable[..., Any]]:
    """Commands to a guest's monitor."""
    with socket.socket(socket.AF_UNIX) as client, client.makefile("r") as lines:
        client.connect(hand.socket)
        lines.readline()

        def execute(command: str, **arguments: object) -> Any:
            client.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            while "return" not in (answer := json.loads(lines.readline())):
                assert "error" not in answer, answer
            return answer["return"]

        execute("qmp_capabilities")
        yield execute


def told(driver: Driver, hand: Hand) -> tuple[HostGuest, list[str]]:
    """A guest as a driver lists it now, and the classes of its threads."""
    guest = next(one for one in driver.guests() if one.id == hand.id)
    return guest, [thread.thread_class.value for thread in driver.observe(guest).threads]


def test_a_monitor_that_another_client_held_is_asked_again(bench: Bench, kind: str, at_once: None) -> None:
    hand, driver = bench.start(kind, names=False), registry.open_driver("processes:")
    with asking(hand):
        assert "unknown" in told(driver, hand)[1]
    until(lambda: told(driver, hand)[1].count("vcpu") == 2, "the monitor is asked again")
    assert "unknown" not in told(driver, hand)[1]


def test_a_guest_that_goes_on_and_is_paused_later_is_told_so_each_time(bench: Bench, kind: str, at_once: None) -> None:
    hand, driver = bench.start(kind), registry.open_driver("processes:")
    for command, state in (("", "paused"), ("cont", "running"), ("stop", "paused"), ("cont", "running")):
        if command:
            with asking(hand) as execute:
                execute(command)
        until(lambda state=state: told(driver, hand)[0].state.value == state, f"it is {state}")  # type: ignore[misc]


@pytest.mark.parametrize("names", [True, False], ids=["named", "unnamed"])
def test_a_vcpu_that_is_plugged_in_is_one_of_the_guest_s(bench: Bench, kind: str, at_once: None, *, names: bool) -> None:
    hand, driver = bench.start(kind, "-smp", "1,maxcpus=2", vcpus=1, names=names, paused=False), registry.open_driver("processes:")
    assert told(driver, hand)[1].count("vcpu") == 1
    plug_in(hand)
    guest, classes = told(driver, hand)
    assert (guest.vcpus, classes.count("vcpu")) == (2, 2)


def test_a_vcpu_that_is_plugged_in_is_told_by_name_before_the_monitor_is_asked(bench: Bench, kind: str) -> None:
    hand, driver = bench.start(kind, "-smp", "1,maxcpus=2", vcpus=1, paused=False), registry.open_driver("processes:")
    assert told(driver, hand)[1].count("vcpu") == 1
    plug_in(hand)
    until(lambda: told(driver, hand)[1].count("vcpu") == 2, "its thread has its name")


def plug_in(hand: Hand) -> None:
    """Give a guest the vCPU that it has room for."""
    threads = len(os.listdir(f"/proc/{hand.pid}/task"))
    with asking(hand) as execute:
        free = next(one for one in execute("query-hotpluggable-cpus") if "qom-path" not in one)
        execute("device_add", driver=free["type"], id="more", **free["props"])
    until(lambda: len(os.listdir(f"/proc/{hand.pid}/task")) > threads, "it has the thread")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process of each question to a monitor."""
    found: list[int] = []
    ask = monitor.ask

    def counted(pid: int, path: str) -> Answer | None:
        found.append(pid)
        return ask(pid, path)

    monkeypatch.setattr(monitor, "ask", counted)
    return found


def test_the_monitor_of_a_guest_that_runs_is_asked_once(bench: Bench, kind: str, asked: list[int]) -> None:
    hand, driver = bench.start(kind, paused=False), registry.open_driver("processes:")
    for _ in range(5):
        told(driver, hand)
    assert asked.count(hand.pid) == 1


def test_what_a_monitor_told_is_forgotten_with_its_process(bench: Bench, asked: list[int]) -> None:
    hand, threads = bench.start("tcg"), Threads()
    (process,) = [one for one in search.processes() if one.pid == hand.pid]
    for there in ([process], [process], []):
        threads.look(process)
        threads.keep(there)
    assert asked == [hand.pid]
    threads.look(process)
    assert asked == [hand.pid, hand.pid]
