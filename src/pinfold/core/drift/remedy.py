"""The shell commands that repair findings, as text. pinfold prints them and never runs them.

Every command names the libvirt address, quotes its words, and works when root pastes it on the host. `virsh` moves what libvirt can move;
`taskset` and `chrt` (util-linux) move other threads. Live pins name only online pCPUs, because a cpuset cgroup accepts no others. Pins in
the persistent definition name the whole set, so that a pCPU that is offline today is not lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift.finding import Subject
from pinfold.core.overhead import ObservedThread
from pinfold.core.printable import shell_line, shell_word

OWNER: Final = "pinfold"
"""The owner in the record of a guest that was started directly on its host, without the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a command changes: the running guest (`live`), the persistent definition (`kept`), or both."""

    live: bool = True
    kept: bool = True


BOTH = Scope()


def vcpupin(subject: Subject, vcpu: int, cpus: CpuSet, online: CpuSet, scope: Scope = BOTH) -> str:
    """Pins one vCPU to `cpus`.

    >>> vcpupin(Subject(name="web 1"), 0, CpuSet.of(4), CpuSet.parse("0-7"))
    "virsh -c qemu:///system vcpupin 'web 1' 0 4 --live --config"
    >>> vcpupin(Subject(name="web"), 0, CpuSet.parse("0-1"), CpuSet.of(0), Scope(live=True))
    'virsh -c qemu:///system vcpupin web 0 0 --live && virsh -c qemu:///system vcpupin web 0 0-1 --config'
    """
    return _pin(subject, ("vcpupin", str(vcpu)), cpus, online, scope)


def emulatorpin(subject: Subject, cpus: CpuSet, online: CpuSet, scope: Scope = BOTH) -> str:
    """Pins the emulator threads to `cpus`. Live, libvirt moves only the main thread unless a cpuset cgroup holds the others."""
    return _pin(subject, ("emulatorpin",), cpus, online, scope)


def iothreadpin(subject: Subject, iothread: int, cpus: CpuSet, online: CpuSet, scope: Scope = BOTH) -> str:
    """Pins one iothread to `cpus`."""
    return _pin(subject, ("iothreadpin", str(iothread)), cpus, online, scope)


def taskset(threads: Iterable[ObservedThread], cpus: CpuSet) -> str:
    """Moves threads to `cpus`, and out of a cgroup that would hold them elsewhere.

    >>> from pinfold.core.overhead import ThreadClass
    >>> worker = ObservedThread(tid=71, name="worker", thread_class=ThreadClass.EMULATOR, allowed=CpuSet.of(4))
    >>> taskset([worker], CpuSet.parse("0-1"))
    'taskset -pc 0-1 71'
    """
    groups: dict[str, list[int]] = {}
    for thread in threads:
        groups.setdefault(thread.leave_for, []).append(thread.tid)
    return joined(_taskset(tids, cpus, tasks) for tasks, tids in sorted(groups.items()))


def _taskset(tids: list[int], cpus: CpuSet, tasks: str) -> str:
    if len(tids) == 1:
        return f"echo {tids[0]} | tee {shell_word(tasks)} && taskset -pc {cpus} {tids[0]}" if tasks else f"taskset -pc {cpus} {tids[0]}"
    step = f"echo $tid | tee {shell_word(tasks)} && taskset -pc {cpus} $tid" if tasks else f"taskset -pc {cpus} $tid"
    return f"for tid in {' '.join(map(str, tids))}; do {step}; done"


def taskset_process(pid: int, cpus: CpuSet) -> str:
    """Moves every thread of a process to `cpus`."""
    return f"taskset -apc {cpus} {pid}"


def chrt_fifo(tid: int, priority: int) -> str:
    """Gives one thread SCHED_FIFO."""
    return f"chrt --fifo --pid {priority} {tid}"


def chrt_other(tids: Iterable[int]) -> str:
    """Gives threads the ordinary scheduler.

    >>> chrt_other([71]), chrt_other([71, 72])
    ('chrt --other --pid 0 71', 'for tid in 71 72; do chrt --other --pid 0 $tid; done')
    """
    listed = [str(tid) for tid in tids]
    return f"chrt --other --pid 0 {listed[0]}" if len(listed) == 1 else f"for tid in {' '.join(listed)}; do chrt --other --pid 0 $tid; done"


def shutdown(subject: Subject) -> str:
    """Asks a foreign guest to shut down."""
    return shell_line(("virsh", "-c", subject.uri, "shutdown", _domain(subject)))


def bring_online(cpus: CpuSet) -> str:
    """Switches pCPUs on.

    >>> bring_online(CpuSet.of(7))
    'echo 1 | tee /sys/devices/system/cpu/cpu7/online'
    """
    return "echo 1 | tee " + " ".join(f"/sys/devices/system/cpu/cpu{cpu}/online" for cpu in cpus)


def replaced(subject: Subject) -> str:
    """The commands, in backquotes, that give a guest of ours a place in the current pools. Its id and disk stay.

    >>> replaced(Subject(name="web", owner="pinfold"))
    '`pinfold guest stop web`, `pinfold guest replace web`, `pinfold guest restart web`'
    >>> replaced(Subject(name="instance-1", id="1", active=False, owner="the agent of c01"))
    '`pinfold server start 1 --wait`'
    """
    if subject.owner == OWNER:
        commands = [f"pinfold guest {verb} {shell_word(subject.name)}" for verb in ("stop", "replace", "restart")]
    else:
        commands = [f"pinfold server {verb} {subject.id} --wait" for verb in ("stop", "start")]
    return ", ".join(f"`{command}`" for command in (commands if subject.active else commands[1:]))


def reread_pools(subject: Subject) -> str:
    """How the service that manages a guest comes to use the pools of today, as the start of a sentence; '' for a guest without a service.

    An agent reads its configuration only when it starts. Until then it places guests by the pools of before.

    >>> reread_pools(Subject(name="web", owner="pinfold"))
    ''
    >>> reread_pools(Subject(name="instance-1", id="1", owner="the agent of c01")).partition(",")[0]
    'restart the agent of c01'
    """
    if subject.owner == OWNER:
        return ""
    return (
        f"restart {subject.owner}, which reads its pools only when it starts (`systemctl restart pinfold-agent`; "
        "where `pinfold up` runs, end it and start it again); then "
    )


def restarted(subject: Subject) -> str:
    """The commands, in backquotes, that end a guest of ours and start it again in the same place.

    >>> restarted(Subject(name="web 1", owner="pinfold"))
    "`pinfold guest stop 'web 1'`, `pinfold guest restart 'web 1'`"
    >>> restarted(Subject(name="instance-1", id="1", owner="the agent of c01"))
    '`pinfold server stop 1 --wait`, `pinfold server start 1 --wait`'
    """
    if subject.owner == OWNER:
        commands = [f"pinfold guest {verb} {shell_word(subject.name)}" for verb in ("stop", "restart")]
    else:
        commands = [f"pinfold server {verb} {subject.id} --wait" for verb in ("stop", "start")]
    return ", ".join(f"`{command}`" for command in commands)


def joined(commands: Iterable[str]) -> str:
    """The commands as one line that runs them in order, each once; empty ones are left out."""
    return " && ".join(dict.fromkeys(command for command in commands if command))


def _pin(subject: Subject, words: tuple[str, ...], cpus: CpuSet, online: CpuSet, scope: Scope) -> str:
    now = cpus & online if scope.live and subject.active else CpuSet()
    kept = cpus if scope.kept and subject.persistent else CpuSet()
    if now and now == kept:
        return _virsh(subject, words, now, "--live", "--config")
    return joined((_virsh(subject, words, now, "--live") if now else "", _virsh(subject, words, kept, "--config") if kept else ""))


def _virsh(subject: Subject, words: tuple[str, ...], cpus: CpuSet, *flags: str) -> str:
    verb, *more = words
    return shell_line(("virsh", "-c", subject.uri, verb, _domain(subject), *more, str(cpus), *flags))


def _domain(subject: Subject) -> str:
    """The guest's name for virsh, or its id if virsh would misread the name.

    virsh reads digits as a running domain's number, 36 characters as a UUID, and a leading dash as an option. A name with characters
    that do not print is replaced too, because a person copies the command.
    """
    name = subject.name
    misread = name.strip(" \t+").isdigit() or len(name) == 36 or name.startswith("-") or not name.isprintable()
    return subject.id if misread and subject.id else name
