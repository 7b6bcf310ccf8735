"""The guest on QEMU's command line, as people, Proxmox and libvirt write it, and as somebody with bad intentions does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfold.core.bounds import MAX_AMOUNT, MAX_CPU
from pinfold.drivers.processes.command_line import CommandLine, read

UUID = "3f6a1c52-7c1e-4a5e-9d0b-0a4b6f1f2d11"
PROXMOX = (
    "/usr/bin/kvm -id 104 -name vm104,debug-threads=on -no-shutdown "
    "-chardev socket,id=qmp,path=/var/run/qemu-server/104.qmp,server=on,wait=off -mon chardev=qmp,mode=control "
    "-chardev socket,id=qmp-event,path=/var/run/qmeventd.sock,reconnect=5 -mon chardev=qmp-event,mode=control "
    f"-pidfile /var/run/qemu-server/104.pid -daemonize -smbios type=1,uuid={UUID} -smp 4,sockets=2,cores=2,maxcpus=4 -nodefaults -m 8192"
).split()
LIBVIRT = (
    f"/usr/bin/qemu-system-x86_64 -name guest=web,debug-threads=on -S -m size=524288k -smp 2,sockets=2 -uuid {UUID} "
    "-chardev socket,id=charmonitor,fd=26,server=on,wait=off -mon chardev=charmonitor,id=monitor,mode=control"
).split()


def test_proxmox_names_id_vcpus_memory_and_the_socket_on_which_qemu_listens() -> None:
    found = read(PROXMOX)
    assert found == CommandLine(name="vm104", uuid=UUID, vcpus=4, memory_mib=8192, monitors=("/var/run/qemu-server/104.qmp",))


def test_the_monitor_of_libvirt_has_no_path() -> None:
    assert read(LIBVIRT) == CommandLine(name="web", uuid=UUID, vcpus=2, memory_mib=512)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-qmp unix:/run/q,server=on,wait=off", ("/run/q",)),
        ("-qmp unix:/run/q,server,nowait", ("/run/q",)),
        ("--qmp unix:/run/a,,b,server=on", ("/run/a,b",)),
        ("-qmp unix:/run/q", ()),
        ("-qmp unix:/run/q,server=on,abstract=on", ()),
        ("-qmp tcp:127.0.0.1:4444,server=on", ()),
        ("-qmp stdio", ()),
        ("-qmp-pretty unix:/run/q,server=on", ()),
        ("-monitor unix:/run/q,server=on", ()),
        ("-chardev socket,id=a,path=/run/a,server=on -mon a,mode=control", ("/run/a",)),
        ("-chardev socket,id=a,path=/run/a,server=on -mon chardev=a", ()),
        ("-chardev socket,id=a,path=/run/a,server=on -mon a,mode=control,pretty=on", ()),
        ("-mon chardev=b,mode=control", ()),
        ("-qmp unix:/run/q,server=on -qmp unix:/run/q,server=on -qmp unix:/run/r,server=on", ("/run/q", "/run/r")),
    ],
)
def test_only_sockets_that_may_be_asked_are_monitors(words: str, expected: tuple[str, ...]) -> None:
    assert read(["qemu-system-x86_64", *words.split()]).monitors == expected


def test_a_command_line_that_says_nothing_has_qemus_defaults() -> None:
    assert read(["qemu-system-x86_64"]) == CommandLine() == read([])


@pytest.mark.parametrize(
    ("words", "name"), [("a,,b", "a,b"), ("guest=web", "web"), ("process=x", ""), ("\x1b[2J", "\N{REPLACEMENT CHARACTER}[2J")]
)
def test_a_name(words: str, name: str) -> None:
    assert read(["kvm", "-name", words]).name == name


@given(st.lists(st.sampled_from(["-name", "-uuid", "-smp", "-m", "-qmp", "-mon", "-chardev", "-smbios"]) | st.text(max_size=40)))
def test_any_command_line_is_read_within_bounds(words: list[str]) -> None:
    found = read(["qemu-system-x86_64", *words, "-name", "x" * 5000, "-uuid", "y" * 5000])
    assert 1 <= found.vcpus <= MAX_CPU + 1 and 1 <= found.memory_mib <= MAX_AMOUNT
    assert len(found.name) <= 200 and found.uuid == "" and len(found.monitors) <= 8
