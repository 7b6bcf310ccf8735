"""`pinfold.config.load`: files in, frozen settings out, and a sentence for everything that is wrong."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pinfold.config import load
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import Strategy
from pinfold.core.host import Booking, Limits, Locality, OverheadRates, ReservedPages
from pinfold.core.pools import PoolConfig

NOVA = """\
[DEFAULT]
my_ip = 10.0.0.7
host = c07
compute_driver = libvirt.LibvirtDriver
transport_url = rabbit://openstack:secret@10.0.0.1:5672/
cpu_allocation_ratio = 8.0
ram_allocation_ratio = 0.0
reserved_host_memory_mb = 4096
reserved_host_disk_mb = 1500
reserved_huge_pages = node:0,size:2048,count:64
reserved_huge_pages = node:1,size:1GB,count:2
state_path = /var/lib/nova
log_dir = $state_path/log

[compute]
cpu_shared_set = 0-1,16-17
cpu_dedicated_set = 2-15,18-31,^20
max_concurrent_disk_ops = 4
packing_host_numa_cells_allocation_strategy = True

[libvirt]
virt_type = kvm
cpu_mode = host-passthrough
cpu_power_management = false
live_migration_with_native_tls = true

[neutron]
auth_type = password
username = neutron
"""


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str | bytes, name: str = "pinfold.conf") -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return _write


def test_no_file_gives_the_defaults() -> None:
    configuration = load(())
    settings = configuration.settings
    assert settings.pools == PoolConfig()
    assert settings.limits == Limits()
    assert settings.strategy is Strategy.SPREAD
    assert settings.uri == "qemu:///system"
    assert settings.virt_type == ""
    assert settings.host == socket.gethostname()
    assert settings.state_dir == "/var/lib/pinfold"
    assert settings.images_dir == "/var/lib/pinfold/images"
    assert configuration.flavors_file == "/etc/pinfold/flavors.toml"
    assert configuration.files == ()
    assert configuration.warnings == ()


def test_a_nova_conf_is_read_as_it_is(write) -> None:
    configuration = load([write(NOVA, "nova.conf")])
    settings = configuration.settings
    assert settings.host == "c07"
    assert settings.pools == PoolConfig(shared=CpuSet.parse("0-1,16-17"), dedicated=CpuSet.parse("2-15,18-19,21-31"))
    assert settings.strategy is Strategy.PACK
    assert settings.limits.cpu_allocation_ratio == 8.0
    assert settings.limits.ram_allocation_ratio == 1.0, "0 means not set, as in Nova"
    assert settings.limits.reserved_memory_mib == 4096
    assert settings.limits.reserved_disk_gib == 2, "rounded up to whole GiB, as in Nova"
    assert settings.limits.reserved_pages == (
        ReservedPages(cell=0, size_kib=2048, count=64),
        ReservedPages(cell=1, size_kib=1048576, count=2),
    )
    assert settings.virt_type == "kvm"
    assert configuration.warnings == ()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("0-1,,16-17", "0-1,16-17"),
        ("0-1,16-17,", "0-1,16-17"),
        (",0-1 , , 16 - 17", "0-1,16-17"),
        ("^1,0-2,,", "0,2"),
        ("0-1,\n  16-17", "0-1,16-17"),
        ("007", "7"),
        ("", None),
        ("   ", None),
    ],
)
def test_a_cpu_list_is_read_as_nova_reads_it(write, text: str, read: str | None) -> None:
    """What Nova 34's `get_cpu_shared_set` and `get_cpu_dedicated_set` make of the same lines."""
    for option in ("shared", "dedicated", "overhead"):
        pools = load([write(f"[compute]\ncpu_{option}_set = {text}\n")]).settings.pools
        assert getattr(pools, option) == (None if read is None else CpuSet.parse(read))


def test_a_value_may_refer_to_another_option_of_the_files(write) -> None:
    assert load([write("[DEFAULT]\nmy_ip = 10.0.0.7\nhost = c-$my_ip\n")]).settings.host == "c-10.0.0.7"


def test_every_option_of_our_own(write) -> None:
    path = write(
        "[compute]\ncpu_overhead_set = 3\n"
        "[overhead]\nshared_fraction = 0.25\nbooking = report\nlocality = prefer_local\n"
        "guest_millicpu = 1\nvcpu_millicpu = 2\ndisk_millicpu = 3\nnic_millicpu = 4\n"
        "[libvirt]\nrealtime_scheduler_priority = 7\nconnection_uri = qemu+unix:///system?socket=/run/x/libvirt-sock\n"
        "[pinfold]\nstate_dir = state\nflavors_file = flavors.toml\nimages_dir = /srv/images\n"
    )
    configuration = load([path])
    settings, folder = configuration.settings, Path(path).parent
    assert settings.pools.overhead == CpuSet.of(3)
    assert settings.limits.shared_fraction == 0.25
    assert settings.limits.booking is Booking.REPORT
    assert settings.limits.locality is Locality.PREFER_LOCAL
    assert settings.limits.rates == OverheadRates(guest=1, vcpu=2, disk=3, nic=4)
    assert settings.realtime_priority == 7
    assert settings.uri == "qemu+unix:///system?socket=/run/x/libvirt-sock"
    assert settings.state_dir == str(folder / "state"), "a relative path starts at the file's folder"
    assert settings.templates_dir == str(folder / "state/templates")
    assert settings.images_dir == "/srv/images"
    assert configuration.flavors_file == str(folder / "flavors.toml")


def test_the_later_file_wins(write) -> None:
    first = write("[compute]\ncpu_shared_set = 0\ncpu_dedicated_set = 1\n", "a.conf")
    second = write("[compute]\ncpu_dedicated_set = 2-3\n", "b.conf")
    configuration = load([first, second])
    assert configuration.settings.pools == PoolConfig(shared=CpuSet.of(0), dedicated=CpuSet.of(2, 3))
    assert configuration.settings.source == f"{first}, {second}"


def test_the_environment_is_not_a_source(write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_COMPUTE__CPU_SHARED_SET", "5")
    assert load([write("[compute]\ncpu_dedicated_set = 1\n")]).settings.pools.shared is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("[compute]\ncpu_shared_set = 3-1\n", "'3-1' is a range that ends before it starts", id="a range that runs backwards"),
        pytest.param("[compute]\ncpu_shared_set = a\n", "'a' is neither a CPU index nor a range like 0-3", id="a letter in a CPU list"),
        pytest.param("[compute]\ncpu_dedicated_set = ,\n", "is not a CPU list: it names no CPU", id="a pool of commas"),
        pytest.param("[compute]\ncpu_dedicated_set = 2,^2\n", "names no pCPU", id="a pool that excludes itself"),
        pytest.param("[compute]\ncpu_shared_set = ^2\n", "only excludes; name the CPUs first", id="a pool of exclusions alone"),
        pytest.param("[compute]\ncpu_shared_set = 0-9999\n", "above the highest CPU index 8191", id="a pCPU beyond every kernel"),
        pytest.param("[DEFAULT]\ncpu_allocation_ratio = lots\n", "'lots' is not allowed; a number of 0 or more is", id="a ratio in words"),
        pytest.param("[DEFAULT]\ncpu_allocation_ratio = -1\n", "'-1' is not allowed; a number of 0 or more is", id="a negative ratio"),
        pytest.param("[DEFAULT]\ncpu_allocation_ratio = nan\n", "a number of 0 or more is", id="a ratio that is not a number"),
        pytest.param("[DEFAULT]\ninitial_ram_allocation_ratio = 0\n", "a number of 0.01 or more is", id="an initial ratio of nothing"),
        pytest.param("[DEFAULT]\nreserved_host_memory_mb =\n", "a whole number of 0 or more is", id="a number that is not there"),
        pytest.param("[DEFAULT]\nreserved_host_memory_mb = 1.5\n", "a whole number of 0 or more is", id="half a MiB"),
        pytest.param(
            "[DEFAULT]\nhost = $hostname\n",
            "names another option, which these files do not give",
            id="an option that is not ours to resolve",
        ),
        pytest.param("[overhead]\nshared_fraction = 1.5\n", "a number from 0 to 1 is", id="more than all of the overlap"),
        pytest.param("[overhead]\nlocality = near\n", "'near' is not allowed; pool or prefer_local is", id="an unknown locality"),
        pytest.param("[overhead]\nbooking = maybe\n", "'maybe' is not allowed; enforce or report is", id="an unknown booking"),
        pytest.param("[libvirt]\nvirt_type = lxc\n", "'lxc' is not allowed; kvm or qemu is", id="another hypervisor"),
        pytest.param("[libvirt]\nconnection_uri = xen:///system\n", "a libvirt URI of QEMU is", id="another hypervisor's URI"),
        pytest.param("[libvirt]\nrealtime_scheduler_priority = 100\n", "a whole number from 1 to 99 is", id="a priority above FIFO's"),
        pytest.param("[compute]\npacking_host_numa_cells_allocation_strategy = perhaps\n", "true or false is", id="neither true nor false"),
        pytest.param(
            "[DEFAULT]\nreserved_huge_pages = node:0,size:2048\n", "node:CELL,size:SIZE,count:PAGES is", id="reserved pages without a count"
        ),
        pytest.param(
            "[DEFAULT]\nreserved_huge_pages = node:0,size:2XB,count:1\n", "node:CELL,size:SIZE,count:PAGES is", id="a page size in no unit"
        ),
        pytest.param(
            "[DEFAULT]\nreserved_huge_pages = nonsense\n", "node:CELL,size:SIZE,count:PAGES", id="reserved pages that are no pairs"
        ),
        pytest.param(
            "[DEFAULT]\nreserved_huge_pages = node:0,size:2048,count:1\nreserved_huge_pages = node:0,size:2MB,count:1\n",
            "names node 0 with pages of 2048 KiB twice",
            id="the same pages reserved twice",
        ),
        pytest.param("[pinfold]\nstate_dir =\n", "is empty; a path is allowed", id="an empty path"),
        pytest.param("[pinfold]\nstate_dir = ~nobody-of-that-name/x\n", "names a user who has no home", id="a path in nobody's home"),
        pytest.param(
            "[DEFAULT]\nvcpu_pin_set = 0-3\n",
            "is refused: it was one pool for everything; write [compute] cpu_dedicated_set",
            id="vcpu_pin_set",
        ),
        pytest.param("[DEFAULT]\nreserved_host_cpus = 2\n", "is refused: a number does not say which pCPUs", id="reserved_host_cpus"),
        pytest.param(
            "[libvirt]\ncpu_power_management = true\n", "is refused: pinfold neither switches pCPUs off", id="cpu_power_management"
        ),
    ],
)
def test_a_wrong_value_is_refused_naming_file_key_value_and_what_is_allowed(write, text: str, sentence: str) -> None:
    path = write(text)
    with pytest.raises(InvalidRequest) as caught:
        load([path])
    message, key = str(caught.value), text.split("\n")[1].split("=")[0].strip()
    assert sentence in message
    assert key in message
    assert path in message
    assert "\n" not in message
    assert caught.value.key is not None
    assert key in caught.value.key


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(b"\x7fELF\x02\x01\x01\x00\x00", "is binary, not text", id="a program"),
        pytest.param(b"[compute]\ncpu_shared_set = \xff\xfe\n", "is not text in UTF-8 (byte 27)", id="another encoding"),
        pytest.param(b"[compute]\n" + b"# filler\n" * 150_000, "is larger than 1 MiB", id="a huge file"),
        pytest.param(b"cpu_shared_set = 1\n", "its first key stands before any [section]", id="a key before any section"),
        pytest.param(b"[compute\n", "line 1: '[compute' is neither [section] nor key = value", id="a section that does not end"),
        pytest.param(b"[compute]\ncpu_shared_set\n", "line 2: 'cpu_shared_set' is neither", id="a key without a value"),
        pytest.param(b"[compute]\n  indented = 1\n", "line 2:", id="a continuation of nothing"),
        pytest.param(b"<xml/>\n", "line 1:", id="something else altogether"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_in_one_sentence(write, text: bytes, sentence: str) -> None:
    path = write(text)
    with pytest.raises(InvalidRequest) as caught:
        load([path])
    assert sentence in str(caught.value)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="is a folder"):
        load([str(tmp_path)])
    with pytest.raises(InvalidRequest, match="cannot be read: No such file or directory"):
        load([str(tmp_path / "absent.conf")])


def test_a_long_value_does_not_drown_the_sentence(write) -> None:
    with pytest.raises(InvalidRequest) as caught:
        load([write("[overhead]\nbooking = " + "x" * 5000 + "\n")])
    assert len(str(caught.value)) < 300


def test_a_secret_is_not_repeated_in_an_error(write) -> None:
    with pytest.raises(InvalidRequest) as caught:
        load([write("[pinfold_database]\nconnection = postgresql://user:$hush@host/db\n")])
    assert "hush" not in str(caught.value)
    assert "[pinfold_database] connection" in str(caught.value)


def test_an_option_that_names_itself_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "self.conf"
    path.write_text("[DEFAULT]\nhost = $host\n", encoding="utf-8")
    with pytest.raises(InvalidRequest, match=r"\[DEFAULT\] host in .*: '\$host' names another option"):
        load([str(path)])


def test_what_placing_refuses_is_read_by_an_audit(write) -> None:
    path = write(
        "[DEFAULT]\nvcpu_pin_set = 4-15,^8\nreserved_host_cpus = 2\n"
        "[compute]\ncpu_shared_set = 0-3\n[libvirt]\ncpu_power_management = yes\n",
        "nova.conf",
    )
    with pytest.raises(InvalidRequest, match="vcpu_pin_set"):
        load([path])
    settings = load([path], audits=True).settings
    assert settings.pools == PoolConfig(shared=CpuSet.parse("0-3"), either=CpuSet.parse("4-7,9-15"), power_managed=True)
    assert settings.reserved_pcpus == 2


@pytest.mark.parametrize(
    "line", ["[DEFAULT]\nvcpu_pin_set = 4-\n", "[DEFAULT]\nreserved_host_cpus = -1\n", "[libvirt]\ncpu_power_management = maybe\n"]
)
def test_an_audit_refuses_their_wrong_values_in_one_sentence(write, line: str) -> None:
    path = write(line)
    with pytest.raises(InvalidRequest) as caught:
        load([path], audits=True)
    assert path in str(caught.value)
    assert line.split("\n")[1].split(" ")[0] in str(caught.value)
