"""The commands that repair a finding, as a shell and virsh read them."""

from __future__ import annotations

import pytest
from msgspec import structs
from tests.build.threads import MASKS, ONLINE, VCPU0, VCPU1, compare, thread

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Subject, steps
from pinfold.core.overhead import ThreadClass
from pinfold.drivers.libvirt.commands import repair_command


def test_commands_quote_what_a_shell_would_read() -> None:
    uri, subject = "qemu+unix:///system?socket=/x y", Subject(name="a b;c", pid=100)
    (finding,) = compare(subject, MASKS, (thread(ThreadClass.EMULATOR, "9", tid=100), VCPU0, VCPU1), ONLINE, uri=uri)
    assert finding.repair == "virsh -c 'qemu+unix:///system?socket=/x y' emulatorpin 'a b;c' 0-1 --live"


@pytest.mark.parametrize(
    ("name", "named"),
    [("web", "web"), ("7a", "7a"), ("7", "an-id"), ("+7", "an-id"), ("--live", "an-id"), ("5d2c1f60-7a0c-4a53-9c5e-0f4f3f0b6c11", "an-id")],
)
def test_a_guest_whose_name_virsh_would_take_for_another_is_named_by_id(name: str, named: str) -> None:
    pin = steps.Pin(what=steps.Pinned.EMULATOR, cpus=CpuSet.of(4), online=CpuSet.of(4), live=True, kept=True)
    assert repair_command("qemu:///system", Subject(name=name, id="an-id"), (pin,)) == (
        f"virsh -c qemu:///system emulatorpin {named} 4 --live --config"
    )


def test_a_remote_hypervisors_word_is_about_classes_and_virsh_repairs_them() -> None:
    far = Subject(name="web")
    emulator = thread(ThreadClass.EMULATOR, "9", tid=0, name="emulator")
    iothread = structs.replace(thread(ThreadClass.IOTHREAD, "9", tid=0, name="iothread 2"), iothread=2)
    findings = compare(far, MASKS, (emulator, iothread, VCPU0, VCPU1), ONLINE, uri="qemu+ssh://c07/system", local=False)
    assert [finding.repair for finding in findings] == [
        "virsh -c qemu+ssh://c07/system emulatorpin web 0-1 --live",
        "virsh -c qemu+ssh://c07/system iothreadpin web 2 0-1 --live",
    ]
