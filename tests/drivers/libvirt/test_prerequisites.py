"""What realtime guests and huge pages need: every lack with its repair and its severity."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from pinfold.cli.views.checks import doctor_view
from pinfold.core.hosttext import host
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor
from pinfold.drivers.checkup import Check, Health, Needs, needs_of
from pinfold.drivers.libvirt.address import address
from pinfold.drivers.libvirt.prerequisites import huge_page_checkups, lab_page_checkups, libvirt_start, realtime_checkups
from pinfold.linux.grants import Grants, HugePageMount
from pinfold.linux.sysfs import HugePages

ROOT = Grants(process="libvirtd", pid=7, sys_nice=True, sys_resource=True, rtprio=0, memlock_kib=8192)
REALTIME = Needs(realtime=True, locked=True)


def realtime(daemon: Grants = ROOT, groups: str = "", wanted: Needs = REALTIME) -> list[tuple[Health, str, str]]:
    return [(one.health, one.words, one.repair) for one in realtime_checkups(daemon, groups, wanted, priority=1)]


def test_a_daemon_that_may_do_everything_on_a_kernel_that_lets_it_is_good() -> None:
    assert [health for health, _, _ in realtime()] == [Health.GOOD] * 2


@pytest.mark.parametrize(("rtprio", "health"), [(0, Health.POOR), (1, Health.GOOD), (99, Health.GOOD)])
def test_fifo_needs_the_capability_or_a_priority_limit_as_high_as_asked(rtprio: int, health: Health) -> None:
    (found, words, repair), *_ = realtime(replace(ROOT, sys_nice=False, rtprio=rtprio))
    assert found is health
    if health is Health.POOR:
        assert words == "libvirtd (7) lacks CAP_SYS_NICE, and its limit of realtime priority is 0, 1 needed"
        assert repair.startswith("mkdir -p /etc/systemd/system/libvirtd.service.d && printf '[Service]\\nLimitRTPRIO=1\\n' > ")
        assert repair.endswith("/LimitRTPRIO.conf && systemctl daemon-reload && systemctl restart libvirtd")


def test_groups_without_realtime_stop_fifo_even_where_the_daemon_may() -> None:
    (health, words, repair), *_ = realtime(groups="/sys/fs/cgroup/cpu")
    assert (health, repair) == (Health.POOR, "")
    assert "cgroup_controllers" in words


@pytest.mark.parametrize(("memlock", "health"), [(8192, Health.POOR), (None, Health.GOOD)])
def test_locked_memory_needs_the_capability_or_no_limit(memlock: int | None, health: Health) -> None:
    *_, (found, _, repair) = realtime(replace(ROOT, sys_resource=False, memlock_kib=memlock))
    assert found is health
    assert ("LimitMEMLOCK=infinity" in repair) is (health is Health.POOR)


def test_what_no_flavor_asks_for_is_no_fault() -> None:
    bare = replace(ROOT, sys_nice=False, sys_resource=False)
    assert {health for health, _, _ in realtime(bare, wanted=Needs())} == {Health.UNUSED}
    assert [health for health, _, _ in realtime(bare, wanted=Needs(locked=True))] == [Health.UNUSED, Health.POOR]


def test_a_lab_is_given_no_command_for_the_libvirt_of_the_machine() -> None:
    bare = replace(ROOT, sys_nice=False, sys_resource=False)
    fifo, locked = realtime_checkups(bare, "", REALTIME, priority=1, lab=True)
    assert [one.health for one in (fifo, locked)] == [Health.POOR] * 2
    for one in (fifo, locked):
        assert one.repair == "" and one.words.endswith("; start the lab anew from a shell that may do it")
    (fifo, *_) = realtime_checkups(ROOT, "/sys/fs/cgroup/cpu", REALTIME, priority=1, lab=True)
    assert (
        fifo.health is Health.POOR
        and "/etc/libvirt" not in fifo.words
        and fifo.words.endswith("; a lab without cgroups (`--no-cgroups`) may")
    )


def test_the_huge_pages_of_a_lab_are_those_of_its_topology() -> None:
    none, some = host("cell:2 core:4"), host("cell:2 core:4 huge:2048x8")
    assert [one.health for one in lab_page_checkups(none, Needs())] == [Health.UNUSED]
    (lacking,) = lab_page_checkups(none, Needs(large_pages=True))
    assert (lacking.health, lacking.repair) == (Health.POOR, "")
    assert lacking.words == "this lab has none; a new lab has some with a topology such as 'cell:2 core:8 huge:2048x512'"
    (good,) = lab_page_checkups(some, Needs(page_kib=frozenset({2048})))
    assert (good.health, good.words) == (Health.GOOD, "this lab has 8 of 2 MiB in cell 0, 8 of 2 MiB in cell 1")
    (other,) = lab_page_checkups(some, Needs(page_kib=frozenset({1 << 20})))
    assert other.health is Health.POOR


@pytest.mark.parametrize(
    ("uri", "programs", "expected"),
    [
        pytest.param("qemu:///system", ("libvirtd",), "systemctl start libvirtd", id="the system's"),
        pytest.param("qemu:///system", ("libvirtd", "virtqemud"), "systemctl start libvirtd", id="both"),
        pytest.param("qemu+unix:///system", ("virtqemud",), "systemctl start virtqemud", id="the modular daemon"),
        pytest.param("qemu:///system", (), "", id="not installed"),
        pytest.param("qemu+unix:///system?socket=/run/pinfold-lab/a/run/libvirt-sock", ("libvirtd",), "", id="a lab"),
        pytest.param("qemu:///session", ("libvirtd",), "", id="a user's"),
        pytest.param("qemu+ssh://c07/system", ("libvirtd",), "", id="another host's"),
    ],
)
def test_a_libvirt_that_is_away_is_started_where_it_is_the_systems(uri: str, programs: tuple[str, ...], expected: str) -> None:
    assert libvirt_start(address(uri, session_dir="/run/user/7"), programs) == expected


SMALL = HugePages(cell=0, size_kib=2048, total=0, free=0)
LARGE = HugePages(cell=0, size_kib=1 << 20, total=0, free=0)
MOUNT = HugePageMount(path="/dev/hugepages", size_kib=None)


def pages(
    *found: HugePages,
    mounts: tuple[HugePageMount, ...] = (MOUNT,),
    wanted: Needs = Needs(),  # noqa: B008
) -> list[tuple[Health, str, str]]:
    return [(one.health, one.words, one.repair) for one in huge_page_checkups(found, mounts, wanted, default_kib=2048)]


def test_sizes_of_which_none_is_reserved_are_told_with_how_to() -> None:
    (small, _, echo), (large, words, nothing) = pages(SMALL, LARGE)
    assert (small, large) == (Health.UNUSED, Health.UNUSED)
    assert echo == "echo 512 | tee /sys/devices/system/node/node*/hugepages/hugepages-2048kB/nr_hugepages"
    assert (words, nothing) == ("none is reserved; boot with hugepagesz=1G hugepages=N, since memory is seldom unbroken later", "")


def test_a_size_that_a_flavor_names_is_missed_and_any_size_serves_large() -> None:
    assert [health for health, *_ in pages(SMALL, LARGE, wanted=Needs(page_kib=frozenset({1 << 20})))] == [
        Health.UNUSED,
        Health.POOR,
    ]
    assert [health for health, *_ in pages(SMALL, LARGE, wanted=Needs(large_pages=True))] == [Health.POOR, Health.UNUSED]
    some = replace(SMALL, total=8, free=3)
    assert [health for health, *_ in pages(some, LARGE, wanted=Needs(large_pages=True))] == [Health.GOOD, Health.UNUSED]
    mounts = (MOUNT, HugePageMount(path="/dev/hugepages1G", size_kib=1 << 20))
    found = pages(SMALL, replace(LARGE, total=2, free=2), mounts=mounts, wanted=Needs(large_pages=True))
    assert [health for health, *_ in found] == [Health.UNUSED, Health.GOOD]


def test_reserved_pages_are_no_use_without_a_mount_of_their_size() -> None:
    (good, words, _), (poor, _, repair) = pages(replace(SMALL, total=8, free=3), replace(LARGE, total=2, free=2))
    assert (good, words) == (Health.GOOD, "8 in cell 0 (3 free); mounted at /dev/hugepages")
    assert poor is Health.POOR
    assert repair.startswith("mkdir -p /dev/hugepages1G && mount -t hugetlbfs -o pagesize=1G hugetlbfs /dev/hugepages1G && ")


def test_a_mount_that_libvirt_did_not_find_at_its_start_needs_a_restart() -> None:
    late = HugePageMount(path="/dev/hugepages", size_kib=None, found=False)
    (found, *_) = huge_page_checkups([replace(SMALL, total=8, free=3)], [late], Needs(), default_kib=2048, service="virtqemud")
    assert (found.health, found.repair) == (Health.POOR, "systemctl restart virtqemud")
    assert "mounted at /dev/hugepages after libvirt had started" in found.words
    assert [(fact.source, fact.value) for fact in found.seen][1:] == [("/dev/hugepages/libvirt/qemu", "not there")]
    early = replace(late, path="/mnt/huge", found=True)
    (found, *_) = huge_page_checkups([replace(SMALL, total=8, free=3)], [late, early], Needs(), default_kib=2048)
    assert found.health is Health.GOOD


def test_flavors_with_pinned_vcpus_that_all_keep_emulators_away_say_so() -> None:
    def request(**specs: str) -> Flavor:
        return Flavor(vcpus=2, memory_mib=2048, extra_specs=tuple(sorted((f"hw:{key}", value) for key, value in specs.items())))

    share, none = request(cpu_policy="dedicated", emulator_threads_policy="share"), request(cpu_policy="dedicated")
    assert needs_of(map(compile_request, [share, request()])).emulators_apart
    assert not needs_of(map(compile_request, [share, none])).emulators_apart
    assert not needs_of(map(compile_request, [request()])).emulators_apart


def test_a_kernel_without_huge_pages_is_a_lack_only_where_they_are_asked_for() -> None:
    assert [health for health, *_ in pages()] == [Health.UNUSED]
    assert [health for health, *_ in pages(wanted=Needs(large_pages=True))] == [Health.POOR]


def test_flavors_say_what_they_want() -> None:
    def request(**specs: str) -> Flavor:
        return Flavor(vcpus=2, memory_mib=2048, extra_specs=tuple(sorted((f"hw:{key}", value) for key, value in specs.items())))

    flavors = [
        request(cpu_policy="dedicated", cpu_realtime="yes", cpu_realtime_mask="^0"),
        request(mem_page_size="1GB"),
        request(mem_page_size="large"),
    ]
    assert needs_of(map(compile_request, flavors)) == Needs(realtime=True, locked=True, large_pages=True, page_kib=frozenset({1 << 20}))
    assert needs_of([compile_request(request())]) == Needs()


def test_a_repair_stays_in_one_piece_on_a_narrow_screen() -> None:
    console = Console(width=60, color_system=None)
    found = huge_page_checkups([SMALL], [], Needs(), default_kib=2048)
    with console.capture() as captured:
        for line in doctor_view(found):
            console.print(line, soft_wrap=bool(getattr(line, "no_wrap", False)))
    assert found[0].repair in captured.get()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_columns_of_long_and_short_lines_begin_at_the_same_place(width: int) -> None:
    console = Console(width=width, color_system=None)
    found = [
        Check.KVM.found(Health.GOOD, "it is there"),
        Check.HUGE_PAGES.found(Health.POOR, "it lacks a word or two " * 8, what="huge pages, 2 MiB"),
        Check.STATE_DIR.found(Health.BAD, "/var/lib/" + "x" * 150),
    ]
    with console.capture() as captured:
        for line in doctor_view(found):
            console.print(line)
    lines = captured.get().splitlines()
    assert len(lines) > len(found)
    assert {line[:22].rstrip() for line in lines} == {"✓  KVM", "○  huge pages, 2 MiB", "✗  state_dir", ""}
    assert all(line[22] != " " for line in lines)
