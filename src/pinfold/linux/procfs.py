"""Read threads from procfs: those of a process, and the kernel threads that serve it.

All functions read below one root (`proc`), so that tests can use a recorded tree. A thread that ends while it is read is left out; every
other failure is an error.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Unavailable

PROC: Final = Path("/proc")

_SCHEDULERS: Final = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline", 7: "ext"}
_IO_WORKER: Final = 0x00000010
_USER_WORKER: Final = 0x00004000
_KERNEL_THREAD: Final = 0x00200000
_WALKS: Final = 12
_REMEMBER_SECONDS: Final = 60.0
_CUT_NAME: Final = "kvm-nx-lpage-re"
_KTHREADD: Final = "2"
_MOST_ARGUMENTS: Final = 256 * 1024
_SERVING: Final = ("vhost-", "kvm-pit/", "kvm-nx-lpage-re")
"""The prefixes of the names of kernel threads for virtual machines."""
_GONE: Final = (errno.ENOENT, errno.ESRCH, errno.ENOTDIR)

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """One thread at one moment.

    `comm` is its name, cut by the kernel to 15 characters for threads of processes. `allowed` is `Cpus_allowed_list`.
    `scheduler` is `other`, `fifo`, `rr`, `batch`, `idle`, `deadline` or `ext`. `priority` is its realtime priority, 0 without one.
    `state` is the letter of proc(5). `start_ticks` counts clock ticks since boot; with `tid` it names a thread for good.
    `in_kernel` is set for threads that never leave the kernel: kernel threads, and the user workers of a process (vhost since 6.4).
    `io_worker` marks io_uring's.
    """

    tid: int
    comm: str
    allowed: CpuSet
    scheduler: str = "other"
    priority: int = 0
    state: str = "S"
    start_ticks: int = 0
    in_kernel: bool = False
    io_worker: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The threads of one process, ordered by id. `stable` is False if new ones still appeared in the last walk."""

    threads: tuple[Thread, ...]
    stable: bool = True


def threads(pid: int, *, proc: Path = PROC) -> tuple[Thread, ...]:
    """The threads of process `pid` in one walk, ordered by id; none if there is no such process.

    Raises `Unavailable` if procfs may not be read.
    """
    found = (_thread(f"{proc}/{pid}/task/{tid}", tid) for tid in _task_ids(pid, proc))
    return tuple(thread for thread in found if thread is not None)


def settled_threads(
    pid: int, *, proc: Path = PROC, also: Callable[[], tuple[Thread, ...]] = tuple, before: tuple[Thread, ...] | None = None
) -> Walk:
    """The threads of process `pid`, walked until two walks in a row show the same ones with the same masks, at most twelve times.

    `also` returns further threads to include in each walk (kernel threads). `before` is what an earlier call found: it counts as a walk.
    Raises `Unavailable` if procfs may not be read.
    """
    before = threads(pid, proc=proc) + also() if before is None else before
    for _ in range(_WALKS):
        now = threads(pid, proc=proc) + also()
        if _identity(now) == _identity(before):
            return Walk(threads=tuple(sorted(now, key=lambda thread: thread.tid)))
        before = now
    return Walk(threads=tuple(sorted(before, key=lambda thread: thread.tid)), stable=False)


class KernelThreads:
    """Finds the kernel threads that serve virtual machines, by their names.

    It remembers for at most a minute which processes are not such threads, so that many guests can be read quickly. The limit is for
    process ids that are used again.
    """

    def __init__(self, *, proc: Path = PROC, clock: Callable[[], float] = time.monotonic) -> None:
        self._proc = proc
        self._clock = clock
        self._lock = threading.Lock()
        self._since = float("-inf")
        self._newest = ""
        self._known: set[str] = set()
        self._serving: dict[str, str] = {}

    def of(self, pid: int) -> tuple[Thread, ...]:
        """Those of process `pid`, ordered by id.

        They are `vhost-PID` (before Linux 6.4), `kvm-pit/PID` and `kvm-nx-lpage-recovery-PID` (in newer kernels a thread of the process
        itself). A kernel before 5.17 cuts the last name so that its process cannot be told; such a thread is the process's where both
        lie in one cpuset cgroup, and nobody's otherwise. Raises `Unavailable` when procfs may not be read.
        """
        with self._lock:
            self._look()
            serving = tuple(self._serving.items())
        names = {f"vhost-{pid}", f"kvm-pit/{pid}", f"kvm-nx-lpage-recovery-{pid}"}
        found = []
        for tid, name in serving:
            if name in names or (name == _CUT_NAME and in_one_scope(pid, int(tid), proc=self._proc)):
                thread = _thread(f"{self._proc}/{tid}", int(tid))
                if thread is not None and thread.in_kernel:
                    found.append(thread)
        return tuple(sorted(found, key=lambda thread: thread.tid))

    def _look(self) -> None:
        """Read the names of new processes, and of all processes once a minute. A sweep does this twice for every guest.

        Listing /proc is slow. Skip it while the kernel has given out no new process id (the last field of `loadavg`, proc(5)).
        """
        now, newest = self._clock(), (read_text(f"{self._proc}/loadavg") or "").rpartition(" ")[2]
        if newest and newest == self._newest and now - self._since <= _REMEMBER_SECONDS:
            return
        self._newest = newest
        if now - self._since > _REMEMBER_SECONDS:
            self._known, self._serving, self._since = set(), {}, now
        listed = set(_forgiving(lambda: os.listdir(self._proc), str(self._proc)) or ())
        for tid in self._known - listed:
            self._serving.pop(tid, None)
        self._known &= listed
        for tid in listed - self._known:
            name = read_text(f"{self._proc}/{tid}/comm") if tid.isdigit() else ""
            if name is None:
                continue
            if name == "kthreadd\n" and tid != _KTHREADD:
                # A new kernel thread has its parent's name until it gets its own: read it again next time.
                self._newest = ""
                continue
            if name.startswith(_SERVING):
                self._serving[tid] = name.rstrip("\n")
            self._known.add(tid)


def kernel_threads(pid: int, *, proc: Path = PROC) -> tuple[Thread, ...]:
    """The kernel threads that serve the virtual machine of process `pid`; see `KernelThreads.of`."""
    return KernelThreads(proc=proc).of(pid)


def start_ticks(pid: int, *, proc: Path = PROC) -> int | None:
    """When process `pid` began, in clock ticks since boot; None if there is none or it is a zombie."""
    text = read_text(f"{proc}/{pid}/stat")
    if text is None:
        return None
    fields = stat_fields(text)
    return None if fields[0] in "ZX" else int(fields[19])


def boot_time(*, proc: Path = PROC) -> int | None:
    """When the machine booted, in seconds since the epoch; None if procfs does not show it."""
    for line in (read_text(f"{proc}/stat") or "").splitlines():
        if line.startswith("btime "):
            return int(line.split()[1])
    return None


def state(pid: int, *, proc: Path = PROC) -> str:
    """The state of process `pid`, a letter of proc(5); '' when there is none."""
    text = read_text(f"{proc}/{pid}/stat")
    return stat_fields(text)[0] if text else ""


def processes_with(*arguments: str, proc: Path = PROC) -> tuple[int, ...]:
    """The ids, ascending, of the processes whose command line contains these arguments in a row."""
    wanted = "".join(f"\0{argument}" for argument in arguments) + "\0"
    found = []
    for pid in process_ids(proc=proc):
        text = read_text(f"{proc}/{pid}/cmdline")
        if text and wanted in f"\0{text}\0":
            found.append(pid)
    return tuple(found)


def arguments(pid: int, *, proc: Path = PROC) -> tuple[str, ...]:
    """The command line of process `pid`, the program first; empty if there is no such process. Of a longer one, the first 256 KiB."""
    text = read_text(f"{proc}/{pid}/cmdline", _MOST_ARGUMENTS)
    return tuple(text.rstrip("\0").split("\0")) if text else ()


def default_huge_page_kib(*, proc: Path = PROC) -> int | None:
    """The kernel's default huge page size in KiB; None on a kernel without huge pages."""
    return _amount_kib(f"{proc}/meminfo", "Hugepagesize:")


def memory_kib(*, proc: Path = PROC) -> int:
    """The machine's memory in KiB. Raises `Unavailable` if procfs does not tell it."""
    found = _amount_kib(f"{proc}/meminfo", "MemTotal:")
    if found is None:
        raise Unavailable(f"{proc}/meminfo has no MemTotal")
    return found


def huge_kib(pid: int, *, proc: Path = PROC) -> int:
    """The memory that process `pid` has in huge pages, in KiB; 0 if there is no such process."""
    return _amount_kib(f"{proc}/{pid}/status", "HugetlbPages:") or 0


def inner_thread_ids(pid: int, *, proc: Path = PROC) -> dict[int, int]:
    """Each thread of process `pid` by the id that it has in its own PID namespace (`NSpid` in proc(5))."""
    found = {}
    for tid in _task_ids(pid, proc):
        for line in (read_text(f"{proc}/{pid}/task/{tid}/status") or "").splitlines():
            if line.startswith("NSpid:"):
                found[int(line.split()[-1])] = tid
    return found


def process_ids(*, proc: Path = PROC) -> tuple[int, ...]:
    """The ids of all processes, ascending. Raises `Unavailable` if procfs cannot be listed."""
    try:
        names = os.listdir(proc)
    except OSError as error:
        raise Unavailable(f"{proc} cannot be read: {error.strerror}") from error
    return tuple(sorted(int(name) for name in names if name.isdigit()))


def program(pid: int, *, proc: Path = PROC) -> str:
    """The path of the file that process `pid` executes; '' if it may not be read, or if there is no such process."""
    try:
        return os.readlink(f"{proc}/{pid}/exe").removesuffix(" (deleted)")
    except OSError:
        return ""


def _amount_kib(path: str, key: str) -> int | None:
    """The amount of a line such as `MemTotal: 4 kB`; None without it."""
    for line in (read_text(path) or "").splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return None


def _identity(found: tuple[Thread, ...]) -> frozenset[tuple[int, int, str, CpuSet]]:
    return frozenset((thread.tid, thread.start_ticks, thread.comm, thread.allowed) for thread in found)


def _thread(folder: str, tid: int) -> Thread | None:
    stat, status = read_text(f"{folder}/stat"), read_text(f"{folder}/status")
    if stat is None or status is None:
        return None
    fields = stat_fields(stat)
    if fields[0] in "ZX":
        # A zombie does not run; its mask is left over.
        return None
    flags, policy = int(fields[6]), int(fields[38])
    _, found, rest = status.partition("\nCpus_allowed_list:")
    if not found:
        raise Unavailable(f"{folder}/status has no Cpus_allowed_list")
    return Thread(
        tid=tid,
        comm=stat[stat.index("(") + 1 : stat.rindex(")")],
        allowed=CpuSet.parse(rest.partition("\n")[0]),
        scheduler=_SCHEDULERS.get(policy, str(policy)),
        priority=int(fields[37]),
        state=fields[0],
        start_ticks=int(fields[19]),
        in_kernel=bool(flags & (_KERNEL_THREAD | _USER_WORKER)),
        io_worker=bool(flags & _IO_WORKER),
    )


def stat_fields(text: str) -> list[str]:
    """The fields of proc(5)'s `stat` from the third (state) on; the name before them may hold blanks and brackets."""
    return text.rpartition(")")[2].split()


def _task_ids(pid: int, proc: Path) -> list[int]:
    folder = f"{proc}/{pid}/task"
    return sorted(int(name) for name in _forgiving(lambda: os.listdir(folder), folder) or () if name.isdigit())


def read_text(path: str, most_bytes: int = -1) -> str | None:
    """The text of a file, at most its first `most_bytes`; None if the thread that it is about has ended. Raises `Unavailable`."""

    # Use plain strings and bytes: a sweep reads tens of thousands of these.
    def read() -> bytes:
        with open(path, "rb", buffering=0) as file:
            return file.read(most_bytes)

    content = _forgiving(read, path)
    return None if content is None else content.decode("utf-8", errors="replace")


def _forgiving(read: Callable[[], Value], what: str) -> Value | None:
    """Call `read` and return its result; None if the thread has ended."""
    try:
        return read()
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise Unavailable(f"{what} cannot be read: {error.strerror}") from error


def cpuset_path(pid: int, tid: int | None = None, *, proc: Path = PROC) -> str:
    """The path, below the cpuset hierarchy's root, of the cgroup of process `pid` or of its thread `tid`; '' when it is gone.

    Where cpuset is not a hierarchy of version 1, that is the one path of version 2, whether or not it has the cpuset controller.
    """
    folder = f"{proc}/{pid}" if tid is None else f"{proc}/{pid}/task/{tid}"
    unified = ""
    for line in (read_text(f"{folder}/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuset" in controllers.split(","):
            return path
        if not controllers:
            unified = path
    return unified


def in_one_scope(pid: int, tid: int, *, proc: Path = PROC) -> bool:
    """Whether two processes lie in cgroups of the cpuset hierarchy that have one parent, as those of one guest do."""
    scope = cpuset_path(pid, proc=proc).rpartition("/")[0]
    return scope != "" and scope == cpuset_path(tid, proc=proc).rpartition("/")[0]
