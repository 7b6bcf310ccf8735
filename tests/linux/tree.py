"""Made-up procfs trees, in the kernel's own formats."""

from __future__ import annotations

from pathlib import Path


def add_thread(
    proc: Path,
    pid: int,
    tid: int,
    *,
    comm: str = "worker",
    allowed: str = "0",
    state: str = "S",
    flags: int = 0x400040,
    policy: int = 0,
    priority: int = 0,
    start: int = 1000,
    cgroup: str = "0::/\n",
) -> None:
    """Thread `tid` of process `pid`."""
    _fill(proc / str(pid) / "task" / str(tid), tid, comm, allowed, state, flags, policy, priority, start, cgroup)


def add_process(proc: Path, pid: int, *, comm: str = "worker", flags: int = 0x400040, cgroup: str = "0::/\n") -> None:
    """A process or kernel thread, without its threads."""
    _fill(proc / str(pid), pid, comm, "0", "S", flags, 0, 0, 1000, cgroup)
    (proc / str(pid) / "comm").write_text(comm + "\n")


def _fill(
    folder: Path, tid: int, comm: str, allowed: str, state: str, flags: int, policy: int, priority: int, start: int, cgroup: str
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fields = ["0"] * 50
    fields[0], fields[6], fields[19], fields[37], fields[38] = state, str(flags), str(start), str(priority), str(policy)
    (folder / "stat").write_text(f"{tid} ({comm}) {' '.join(fields)}\n")
    (folder / "status").write_text(
        f"Name:\t{comm}\nState:\t{state}\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\nMems_allowed_list:\t0\n"
    )
    (folder / "cgroup").write_text(cgroup)
