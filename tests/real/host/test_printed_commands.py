"""Every command that the audit prints, run on a real guest with that fault: the finding goes, none comes, and nothing else has moved."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.real.host.bench import Bench
from tests.real.host.domains import virsh
from tests.real.host.faults import CASES, WITHOUT_A_CASE, Case, Domain, Found, Host, Pools
from tests.real.patience import until

from pinfold.core.drift import FindingCode
from pinfold.core.overhead import ThreadClass
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor
from pinfold.drivers.port import Boot
from pinfold.host.audit import audit
from pinfold.host.description import GuestDescription
from pinfold.linux import cgroup, procfs


class LabMachine:
    """A lab on this machine as a host of the cases."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench = bench
        self._folder = folder
        self.kvm, self.cgroups, self.uri = bench.lab.kvm, bench.lab.cgroups, bench.lab.uri
        self.pcpus = len(bench.driver.topology().online)

    def define(self, domain: Domain) -> None:
        """Define a guest and start it."""
        file = self._folder / f"{domain.name}.xml"
        file.write_text(domain.text(kind="kvm" if self.kvm else "qemu", rom=str(self._bench.rom)))
        virsh(self._bench, "define", str(file))
        virsh(self._bench, "start", domain.name)

    def start_ours(self, name: str, specs: Mapping[str, str], iothreads: int) -> None:
        """Start a guest of ours."""
        request = compile_request(Flavor(vcpus=1, memory_mib=16, extra_specs=tuple(sorted(specs.items()))))
        boot = Boot(rom=str(self._bench.rom), iothreads=iothreads)
        self._bench.start(GuestDescription(name=name, request=request, boot=boot))

    def shell(self, command: str) -> None:
        """Run a command as root."""
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def audit(self, pools: Pools) -> Sequence[Found]:
        """Everything found about guests and who owns their pCPUs."""
        bench = self._bench.with_pools(shared=pools[0], dedicated=pools[1], overhead=pools[2])
        found = audit(bench.driver, bench.settings)
        return [
            Found(
                code=one.code.value,
                guest=one.guest,
                sentence=one.sentence(),
                repair=one.repair,
                advice=one.advice,
                severity=one.severity.value,
            )
            for one in found.findings
            if one.code is not FindingCode.FOREIGN_PROCESS
        ]

    def masks(self) -> Mapping[int, str]:
        """The mask of every thread of every guest."""
        found = {}
        for guest in self._bench.driver.guests():
            for task in Path(f"/proc/{guest.pid}/task").iterdir() if guest.pid else ():
                with suppress(OSError):
                    lines = (task / "status").read_text().splitlines()
                    found[int(task.name)] = next(line.partition("\t")[2] for line in lines if line.startswith("Cpus_allowed_list"))
        return found

    def names(self) -> Mapping[str, str]:
        """What stands for the words in braces."""
        guest = self._bench.guest("vm")
        found = {"uri": self.uri, "pid": str(guest.pid)}
        threads = self._bench.driver.observe(guest).threads if guest.pid else ()
        for thread in threads:
            kind = thread.thread_class
            if kind is ThreadClass.VCPU and thread.vcpu == 0:
                found["vcpu0"] = str(thread.tid)
            elif kind is ThreadClass.IOTHREAD:
                found.setdefault("iothread", str(thread.tid))
            elif kind is ThreadClass.KTHREAD and thread.name.startswith("kvm-nx"):
                found["nx"] = str(thread.tid)
            elif kind is ThreadClass.EMULATOR and thread.tid != guest.pid and thread.name != "worker":
                found.setdefault("worker", str(thread.tid))
        if guest.pid and "vcpu0" in found and self.cgroups != "none":
            folder = Path(cgroup.cpuset_hierarchy().root) / procfs.cpuset_path(guest.pid, int(found["vcpu0"])).lstrip("/")
            found["vcpu0_tasks"] = str(folder / ("tasks" if self.cgroups == "v1" else "cgroup.threads"))
        return found


def run(host: Host, case: Case) -> None:
    """Make the case's guests, see that nothing is found, make the fault, see that it is found, and run what is printed.

    1. Each printed command is run once, in the order of the findings.
    2. Then nothing is found any more, and every thread that was there before the fault may run where it could then.
    """
    for domain in case.guests:
        host.define(domain)
    if case.ours is not None:
        host.start_ours("vm", case.ours, case.iothreads)
    healthy = dict(host.masks())
    if case.moves or case.faulty_pools is not None:
        assert [one.sentence for one in findings(host, case, case.pools)] == []
    for command in case.fault:
        host.shell(command.format(**host.names()))
    try:
        undone(host, case, healthy)
    finally:
        for command in case.cleanup:
            host.shell(command)


def findings(host: Host, case: Case, pools: Pools) -> list[Found]:
    """What the audit finds, without a note that comes by chance.

    KVM makes a thread when the guest first runs, which on a busy machine is later than the start of a guest of ours looks for it.
    """
    return [one for one in host.audit(pools) if one.code != "kernel-thread" or one.code in case.codes]


def undone(host: Host, case: Case, healthy: Mapping[int, str]) -> None:
    """The fault is found, and what is printed undoes it; `healthy` are the masks of before."""
    pools = case.faulty_pools or case.pools
    found = findings(host, case, pools)
    assert tuple(sorted(one.code for one in found)) == tuple(sorted(case.codes)), [one.sentence for one in found]
    repairs = [one.repair for one in found if one.repair]
    assert len(set(repairs)) == len(repairs)
    assert all(bool(one.repair) != bool(one.advice) for one in found), "a command, or advice where none is safe"
    if not case.codes:
        return
    if not case.commanded:
        assert any(one.advice for one in found)
        return
    assert len(repairs) == len(found)
    before = dict(host.masks())
    for repair in repairs:
        host.shell(repair)
    assert [one.sentence for one in findings(host, case, pools)] == []
    if case.moves:
        after = host.masks()
        both = healthy.keys() & before.keys() & after.keys()
        assert both
        assert {tid: after[tid] for tid in both} == {tid: healthy[tid] for tid in both}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_printed_command_undoes_the_fault_and_nothing_else(bench: Bench, tmp_path: Path, case: Case) -> None:
    host = LabMachine(replace(bench), tmp_path)
    reason = case.why_not(host)
    if reason:
        pytest.skip(f"cannot occur: {reason}")
    if case.ours is not None and host.kvm and "{nx}" in "".join(case.fault):
        run_with_kernel_thread(host, case)
    else:
        run(host, case)


def run_with_kernel_thread(host: LabMachine, case: Case) -> None:
    """A case about KVM's own thread, where the kernel makes one in the guest's process."""
    assert case.ours is not None
    host.start_ours("vm", case.ours, case.iothreads)
    until(lambda: "nx" in host.names(), "KVM has made its thread")
    for command in case.fault:
        host.shell(command.format(**host.names()))
    (found,) = host.audit(case.pools)
    assert (found.code, found.severity) == (case.codes[0], "note")
    host.shell(found.repair)
    assert host.audit(case.pools) == []


def test_every_finding_has_a_case_or_a_reason_why_not() -> None:
    raised = {code for case in CASES for code in case.codes}
    assert raised | WITHOUT_A_CASE.keys() == {code.value for code in FindingCode}
    assert raised.isdisjoint(WITHOUT_A_CASE)
