"""Read threads from procfs: those of a process, and the kernel threads that serve it.

All functions read below one root (`proc`), so that tests can use a recorded tree. A thread that ends while it is read is left out; every
other failure is an error.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

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
_PIECE: Final = 16 * 1024
_SERVING: Final = ("vhost-", "kvm-pit/", "kvm-nx-lpage-re")
"""The prefixes of the names of kernel threads for virtual machines."""
_GONE: Final = (errno.ENOENT, errno.ESRCH, errno.ENOTDIR)

Value = TypeVar("Value")


class Thread(Struct, frozen=True, kw_only=True):
    """One thread at one moment.

    `comm` is its name, cut by the kernel to 15 characters for threads of processes. `allowed` is `Cpus_allowed_list`.
    `scheduler` is `other`, `fifo`, `rr`, `batch`, `idle`, `deadline` or `ext`. `priority` is its realtime priority, 0 without one.
    `start_ticks` counts clock ticks since boot; with `tid` it names a thread for good.
    `in_kernel` is set for threads that never leave the kernel: kernel threads, and the user workers of a process (vhost since 6.4).
    `io_worker` marks io_uring's.
    """

    tid: int
    comm: str
    allowed: CpuSet
    scheduler: str = "other"
    priority: int = 0
    start_ticks: int = 0
    in_kernel: bool = False
    io_worker: bool = False


class Walk(Struct, frozen=True, kw_only=True):
    """The threads of one process, ordered by id. `stable` is False if new ones still appeared in the last walk."""

    threads: tuple[Thread, ...]
    stable: bool = True


def threads(pid: int, *, proc: Path = PROC, before: Iterable[Thread] = ()) -> tuple[Thread, ...]:
    """The threads of process `pid` in one walk, ordered by id; none if there is no such process.

    A thread of this machine that is as it was in `before` is returned as the same object. Raises `Unavailable` if procfs may not be read.
    """
    known = {thread.tid: thread for thread in before} if proc is PROC else {}
    with task_folder(pid, proc=proc) as folder:
        found = (_thread(str(tid), tid, folder, known.get(tid)) for tid in thread_ids(folder))
        return tuple(thread for thread in found if thread is not None)


def settled_threads(
    pid: int, *, proc: Path = PROC, also: Callable[[], tuple[Thread, ...]] = tuple, before: tuple[Thread, ...] | None = None
) -> Walk:
    """The threads of process `pid`, walked until two walks in a row show the same ones with the same masks, at most twelve times.

    `also` returns further threads to include in each walk (kernel threads). `before` is what an earlier call found: it counts as a walk,
    and what is still the same is returned as the same object. Raises `Unavailable` if procfs may not be read.
    """
    before = _ordered(threads(pid, proc=proc) + also()) if before is None else before
    for _ in range(_WALKS):
        now = _ordered(threads(pid, proc=proc, before=before) + also())
        if now == before:
            return Walk(threads=before)
        if _identity(now) == _identity(before):
            return Walk(threads=now)
        before = now
    return Walk(threads=before, stable=False)


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
        self._by_name: dict[str, tuple[str, ...]] = {}

    def of(self, pid: int) -> tuple[Thread, ...]:
        """Those of process `pid`, ordered by id.

        They are `vhost-PID` (before Linux 6.4), `kvm-pit/PID` and `kvm-nx-lpage-recovery-PID` (in newer kernels a thread of the process
        itself). A kernel before 5.17 cuts the last name so that its process cannot be told; such a thread is the process's where both
        lie in one cpuset cgroup, and nobody's otherwise. Raises `Unavailable` when procfs may not be read.
        """
        with self._lock:
            self._look()
            by_name = self._by_name
        names = (f"vhost-{pid}", f"kvm-pit/{pid}", f"kvm-nx-lpage-recovery-{pid}")
        tids = [tid for name in names for tid in by_name.get(name, ())]
        tids += [tid for tid in by_name.get(_CUT_NAME, ()) if in_one_scope(pid, int(tid), proc=self._proc)]
        found = (_thread(f"{self._proc}/{tid}", int(tid)) for tid in tids)
        return _ordered(thread for thread in found if thread is not None and thread.in_kernel)

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
        by_name: dict[str, tuple[str, ...]] = {}
        for tid, name in self._serving.items():
            by_name[name] = (*by_name.get(name, ()), tid)
        self._by_name = by_name


def start_ticks(pid: int, *, proc: Path = PROC) -> int | None:
    """When process `pid` began, in clock ticks since boot; None if there is none or it is a zombie."""
    text = read_text(f"{proc}/{pid}/stat")
    if text is None:
        return None
    fields = stat_fields(text)
    return None if fields[0] in "ZX" else int(fields[19])


def age_seconds(pid: int, *, proc: Path = PROC) -> int | None:
    """How long process `pid` has existed, in whole seconds; None if there is none or it is a zombie."""
    began = start_ticks(pid, proc=proc)
    if began is None:
        return None
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK"))


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
    with task_folder(pid, proc=proc) as folder:
        for tid in thread_ids(folder):
            for line in (read_text(f"{tid}/status", folder=folder) or "").splitlines():
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


def _ordered(found: Iterable[Thread]) -> tuple[Thread, ...]:
    return tuple(sorted(found, key=lambda thread: thread.tid))


def _thread(path: str, tid: int, folder: int | None = None, before: Thread | None = None) -> Thread | None:
    """The thread in the folder at `path`, which may be below an open `folder`; None if it has ended. `before` is one of this machine's."""
    stat = read(f"{path}/stat", folder=folder)
    if stat is None:
        return None
    begin, end = stat.index(b"("), stat.rindex(b")")
    fields = stat[end + 1 :].split()
    if fields[0] in b"ZX":
        # A zombie does not run; its mask is left over.
        return None
    flags, policy, start = int(fields[6]), int(fields[38]), int(fields[19])
    same = before is not None and before.start_ticks == start and _is_still_on(tid, before.allowed)
    allowed = before.allowed if same and before is not None else _allowed(path, folder)
    if allowed is None:
        return None
    found = Thread(
        tid=tid,
        comm=stat[begin + 1 : end].decode("utf-8", errors="replace"),
        allowed=allowed,
        scheduler=_SCHEDULERS.get(policy) or str(policy),
        priority=int(fields[37]),
        start_ticks=start,
        in_kernel=bool(flags & (_KERNEL_THREAD | _USER_WORKER)),
        io_worker=bool(flags & _IO_WORKER),
    )
    return before if found == before else found


def _allowed(path: str, folder: int | None) -> CpuSet | None:
    status = read(f"{path}/status", folder=folder)
    if status is None:
        return None
    _, found, rest = status.partition(b"\nCpus_allowed_list:")
    if not found:
        raise Unavailable(f"{path}/status has no Cpus_allowed_list")
    return _cpus(rest.partition(b"\n")[0])


def _is_still_on(tid: int, allowed: CpuSet) -> bool:
    """Whether the online pCPUs that the thread may run on are exactly `allowed`. This is one system call, and `status` is the longest file.

    It does not show offline pCPUs in a mask. Where `allowed` has some, the answer is no, and `status` is read; where the mask gets one, it
    is seen once that pCPU is online.
    """
    try:
        return os.sched_getaffinity(tid) == _members(allowed.mask)
    except OSError:
        return False


@lru_cache(maxsize=1024)
def _members(mask: int) -> frozenset[int]:
    return frozenset(CpuSet.from_mask(mask))


@lru_cache(maxsize=1024)
def _cpus(cpulist: bytes) -> CpuSet:
    """Remembered: the threads of a host have few different masks."""
    return CpuSet.parse(cpulist.decode("ascii", errors="replace"))


def stat_fields(text: str) -> list[str]:
    """The fields of proc(5)'s `stat` from the third (state) on; the name before them may hold blanks and brackets."""
    return text.rpartition(")")[2].split()


@contextmanager
def task_folder(pid: int, *, proc: Path = PROC) -> Iterator[int | None]:
    """A descriptor of the folder of the threads of process `pid`; None if there is no such process. Raises `Unavailable`.

    It stays this process's folder, also when the process has ended and its id is used again.
    """
    path = f"{proc}/{pid}/task"
    folder = _forgiving(lambda: os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path)
    try:
        yield folder
    finally:
        if folder is not None:
            os.close(folder)


def thread_ids(folder: int | None) -> tuple[int, ...]:
    """The ids, ascending, of the threads in a folder that `task_folder` opened; none without one. Raises `Unavailable`."""
    if folder is None:
        return ()
    names = _forgiving(lambda: os.listdir(folder), f"/proc/self/fd/{folder}") or ()
    return tuple(sorted(map(int, filter(str.isdigit, names))))


def read_text(path: str, most_bytes: int | None = None, *, folder: int | None = None) -> str | None:
    """The text of a file, which may be below an open `folder`, at most its first `most_bytes`; None if the thread has ended.

    Raises `Unavailable`.
    """
    content = read(path, most_bytes, folder=folder)
    return None if content is None else content.decode("utf-8", errors="replace")


def read(path: str, most_bytes: int | None = None, *, folder: int | None = None) -> bytes | None:
    """The same as bytes. A sweep reads thousands of these, so nothing here makes more system calls than it has to."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        _refuse_all_but_gone(error, path, folder)
        return None
    try:
        if most_bytes is not None:
            return os.read(file, most_bytes)
        # procfs gives as much as fits, so less than that is the end.
        content = piece = os.read(file, _PIECE)
        while len(piece) == _PIECE:
            piece = os.read(file, _PIECE)
            content += piece
        return content
    except OSError as error:
        _refuse_all_but_gone(error, path, folder)
        return None
    finally:
        os.close(file)


def _forgiving(read: Callable[[], Value], what: str) -> Value | None:
    """Call `read` and return its result; None if the thread has ended."""
    try:
        return read()
    except OSError as error:
        _refuse_all_but_gone(error, what)
        return None


def _refuse_all_but_gone(error: OSError, what: str, folder: int | None = None) -> None:
    """Raises `Unavailable`, unless the error means that the thread has ended."""
    if error.errno not in _GONE:
        where = what if folder is None else f"{os.readlink(f'/proc/self/fd/{folder}')}/{what}"
        raise Unavailable(f"{where} cannot be read: {error.strerror}") from error


def cpuset_path(pid: int, tid: int | None = None, *, proc: Path = PROC) -> str:
    """The path, below the cpuset hierarchy's root, of the cgroup of process `pid` or of its thread `tid`; '' when it is gone.

    Where cpuset is not a hierarchy of version 1, that is the one path of version 2, whether or not it has the cpuset controller.
    """
    folder = f"{proc}/{pid}" if tid is None else f"{proc}/{pid}/task/{tid}"
    return _cpuset_path(read(f"{folder}/cgroup") or b"")


def cpuset_paths(pid: int, tids: Iterable[int], *, proc: Path = PROC) -> dict[int, str]:
    """The path, as `cpuset_path` gives it, of each of those threads of process `pid`; '' for one that is gone or of no such process."""
    with task_folder(pid, proc=proc) as folder:
        return {tid: "" if folder is None else _cpuset_path(read(f"{tid}/cgroup", folder=folder) or b"") for tid in tids}


@lru_cache(maxsize=1024)
def _cpuset_path(content: bytes) -> str:
    """Remembered: threads share their cgroups, and hardly ever change them."""
    unified = ""
    for line in content.decode("utf-8", errors="replace").splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuset" in controllers.split(","):
            return path
        if not controllers:
            unified = path
    return unified


def in_one_scope(pid: int, tid: int, *, proc: Path = PROC) -> bool:
    """Whether two processes lie in cgroups of the cpuset hierarchy that have one parent, as those of one guest do."""
    return is_one_scope(cpuset_path(pid, proc=proc), cpuset_path(tid, proc=proc))


def is_one_scope(path: str, other: str) -> bool:
    """Whether two paths of cgroups have one parent. Pure."""
    scope = path.rpartition("/")[0]
    return scope != "" and scope == other.rpartition("/")[0]
