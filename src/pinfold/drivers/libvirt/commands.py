"""The shell commands that undo findings about a guest of libvirt's, as text. pinfold prints them and never runs them.

Every command names the libvirt address, quotes its words, and works when root pastes it on the host. `virsh` moves what libvirt can move;
`drivers.kvm.commands` moves other threads. Live pins name only online pCPUs, because a cpuset cgroup accepts no others. Pins in the
persistent definition name the whole set, so that a pCPU that is offline today is not lost.
"""

from __future__ import annotations

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Subject
from pinfold.core.drift.steps import Pin, Pinned, ShutDown, Step
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.core.printable import shell_line
from pinfold.drivers.kvm import commands

_VERBS = {Pinned.VCPU: "vcpupin", Pinned.EMULATOR: "emulatorpin", Pinned.IOTHREAD: "iothreadpin"}
_FOLLOWERS = (ThreadClass.EMULATOR, ThreadClass.VHOST)
"""The classes of which a live emulator pin moves only the main thread, unless a cpuset cgroup holds the others."""


def repair_command(uri: str, subject: Subject, steps: tuple[Step, ...], *, local: bool = True) -> str:
    """The command that takes all steps: first those by virsh, then those on single threads.

    '' if they cannot be taken: from another machine, where `local` is False, only virsh reaches the guest.
    """
    virsh = [_virsh(uri, subject, step) for step in steps]
    threads = [commands.command(_rest(subject, step)) for step in steps]
    return "" if any(threads) and not local else commands.joined((*virsh, *threads))


def _rest(subject: Subject, step: Step) -> Step:
    """The step with those threads that libvirt does not move."""
    if not isinstance(step, Pin):
        return step
    return Pin(what=step.what, cpus=step.cpus, online=step.online, threads=tuple(t for t in step.threads if not _is_led(subject, t)))


def _is_led(subject: Subject, thread: ObservedThread) -> bool:
    """Whether libvirt moves the thread with its pin. A remote one gives no thread ids (0): its answer is about the whole class."""
    return thread.thread_class not in _FOLLOWERS or thread.tid in (subject.pid, 0)


def _virsh(uri: str, subject: Subject, step: Step) -> str:
    if isinstance(step, ShutDown):
        return shell_line(("virsh", "-c", uri, "shutdown", _domain(subject)))
    if not isinstance(step, Pin) or not (step.live or step.kept or any(_is_led(subject, thread) for thread in step.threads)):
        return ""
    now = step.online if (step.live or step.threads) and subject.active else CpuSet()
    kept = step.cpus if step.kept and subject.persistent else CpuSet()
    if now and now == kept:
        return _pin(uri, subject, step, now, "--live", "--config")
    return commands.joined(
        (_pin(uri, subject, step, now, "--live") if now else "", _pin(uri, subject, step, kept, "--config") if kept else "")
    )


def _pin(uri: str, subject: Subject, step: Pin, cpus: CpuSet, *flags: str) -> str:
    index = () if step.what is Pinned.EMULATOR else (str(step.index),)
    return shell_line(("virsh", "-c", uri, _VERBS[step.what], _domain(subject), *index, str(cpus), *flags))


def _domain(subject: Subject) -> str:
    """The guest's name for virsh, or its id if virsh would misread the name.

    virsh reads digits as a running domain's number, 36 characters as a UUID, and a leading dash as an option. A name with characters
    that do not print is replaced too, because a person copies the command.
    """
    name = subject.name
    misread = name.strip(" \t+").isdigit() or len(name) == 36 or name.startswith("-") or not name.isprintable()
    return subject.id if misread and subject.id else name
