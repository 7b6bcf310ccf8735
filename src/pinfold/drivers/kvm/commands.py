"""The shell commands that undo findings about any QEMU process, as text. pinfold prints them and never runs them.

`taskset` and `chrt` (util-linux) move threads. Every command works when root pastes it on the host.
"""

from __future__ import annotations

from collections.abc import Iterable

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import steps
from pinfold.core.overhead import ObservedThread
from pinfold.core.printable import shell_word


def command(step: steps.Step) -> str:
    """The command that takes the step by moving or rescheduling threads; '' if that is not what the step needs."""
    match step:
        case steps.Move() | steps.Pin():
            return taskset(step.threads, step.cpus if isinstance(step, steps.Move) else step.online)
        case steps.MoveProcess():
            return f"taskset -apc {step.cpus} {step.pid}"
        case steps.Schedule():
            return chrt(step.tids, step.priority)
        case steps.SwitchOn():
            return "echo 1 | tee " + " ".join(f"/sys/devices/system/cpu/cpu{cpu}/online" for cpu in step.cpus)
        case steps.ShutDown():
            return ""


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


def chrt(tids: tuple[int, ...], priority: int) -> str:
    """Gives threads SCHED_FIFO with that priority, or the ordinary scheduler with priority 0.

    >>> chrt((71,), 1), chrt((71, 72), 0)
    ('chrt --fifo --pid 1 71', 'for tid in 71 72; do chrt --other --pid 0 $tid; done')
    """
    policy = f"chrt --fifo --pid {priority}" if priority else "chrt --other --pid 0"
    return f"{policy} {tids[0]}" if len(tids) == 1 else f"for tid in {' '.join(map(str, tids))}; do {policy} $tid; done"


def joined(commands: Iterable[str]) -> str:
    """The commands as one line that runs them in order, each once; empty ones are left out."""
    return " && ".join(dict.fromkeys(command for command in commands if command))


def _taskset(tids: list[int], cpus: CpuSet, tasks: str) -> str:
    if len(tids) == 1:
        return f"echo {tids[0]} | tee {shell_word(tasks)} && taskset -pc {cpus} {tids[0]}" if tasks else f"taskset -pc {cpus} {tids[0]}"
    step = f"echo $tid | tee {shell_word(tasks)} && taskset -pc {cpus} $tid" if tasks else f"taskset -pc {cpus} $tid"
    return f"for tid in {' '.join(map(str, tids))}; do {step}; done"
