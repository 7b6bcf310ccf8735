"""`LastAnswer`: what a QEMU's monitor told last, and whether it is to be asked again. Pure.

A question takes time on the guest's emulator threads, and a second where another client holds the monitor. So a guest that runs with the
threads that its monitor told is not asked again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pinfold.drivers.kvm.thread_class import is_overhead_name, is_vcpu_name
from pinfold.drivers.processes.monitor import Answer
from pinfold.linux.procfs import Thread

SHORTEST_SECONDS: Final = 10.0
"""A monitor is not asked more often than this."""
LONGEST_SECONDS: Final = 600.0
"""The longest pause before a question that is only worth a try. Each one that brought nothing new doubles it."""
SAMPLE_SECONDS: Final = 5.0
"""A vCPU that has not run for so long may be paused, or sleep."""

Identity = tuple[int, int]
"""A thread's id and when it started; the kernel uses ids again."""


class LastAnswer(Struct, frozen=True, kw_only=True):
    """The last answer, None if there never was one. `silent`: the last question got none.

    `known` are the threads that were there when the answer was given. Other threads are not told by it.
    `asked` and `sampled` are times of the clock. `ran_ns` is how long the vCPUs had run when that was sampled last, None if the kernel does
    not count it, and `ran` whether they ran since the sample before, None after a question.
    """

    answer: Answer | None
    known: frozenset[Identity]
    asked: float
    silent: bool = False
    pause: float = 0.0
    ran_ns: int | None = None
    ran: bool | None = None
    sampled: float = 0.0

    def tells(self, thread: Thread) -> bool:
        """Whether the answer covers the thread."""
        return self.answer is not None and identity(thread) in self.known


def identity(thread: Thread) -> Identity:
    """What names the thread for good."""
    return thread.tid, thread.start_ticks


def answered(
    before: LastAnswer | None, answer: Answer | None, *, asked: float, there: Iterable[Thread], now_there: Iterable[Thread]
) -> LastAnswer:
    """What is known after a question, which `answer` answers. `there` are the threads from before it, `now_there` those from after it.

    Without an answer, an earlier one stays.
    """
    new = answer is not None and (before is None or answer != before.answer)
    pause = SHORTEST_SECONDS if before is None or new else min(LONGEST_SECONDS, 2 * before.pause)
    if answer is None:
        if before is not None:
            return replace(before, asked=asked, silent=True, pause=pause, ran=None)
        return LastAnswer(answer=None, known=frozenset(), asked=asked, silent=True, pause=pause)
    named = answer.vcpus.keys() | answer.iothreads.keys() | answer.several
    known = frozenset(map(identity, there)) | {identity(thread) for thread in now_there if thread.tid in named}
    return LastAnswer(answer=answer, known=known, asked=asked, pause=pause)


def sampled(last: LastAnswer, ran_ns: int | None, *, now: float) -> LastAnswer:
    """What is known after a look at how long the vCPUs have run."""
    comparable = ran_ns is not None and last.ran_ns is not None and last.sampled > last.asked
    return replace(last, ran=ran_ns != last.ran_ns if comparable else None, ran_ns=ran_ns, sampled=now)


def is_due(last: LastAnswer, threads: Iterable[Thread], *, now: float) -> bool:
    """Whether to ask again, when these threads are there.

    1. Soon, for what the answer is wrong about: there is a new thread with a vCPU's name, or a paused guest's vCPUs have run.
    2. After a pause, for what may have changed: there never was an answer; the guest was paused; a new thread has no name that tells what
       it is for; or the vCPUs of a guest that ran stand still. So also what is due soon, if the monitor was silent.
    """
    waited = now - last.asked
    if waited < SHORTEST_SECONDS:
        return False
    if last.answer is None:
        return waited >= last.pause
    new = [thread.comm for thread in threads if not last.tells(thread) and not thread.in_kernel and not thread.io_worker]
    soon = any(map(is_vcpu_name, new)) or (last.answer.paused and last.ran is True)
    if soon and not last.silent:
        return True
    later = soon or last.answer.paused or last.ran is False or not all(map(is_overhead_name, new))
    return later and waited >= last.pause
