"""The options of one host: pools, ratios, reserves, overhead rates, libvirt and folders. The service's are in `options_fleet`."""

from __future__ import annotations

from oslo_config import cfg, types

from pinfold.config.option_group import OptionGroup, RefusedOption

_CPULIST = "a CPU list such as 0-3,8 or 0-7,^2"
_PATH = "a path; a relative one starts at the folder of the file it stands in"

_COMPUTE = OptionGroup(
    name="compute",
    title="The pools: which pCPUs run what. What is in no pool belongs to the host.",
    nova=frozenset({"cpu_shared_set", "cpu_dedicated_set", "packing_host_numa_cells_allocation_strategy"}),
    options=(
        cfg.StrOpt(
            "cpu_shared_set",
            metavar=_CPULIST,
            help="pCPUs for floating vCPUs and, unless cpu_overhead_set is given, for overhead threads. "
            "Where neither this nor cpu_dedicated_set is given, all online pCPUs are shared and there is no overhead pool. "
            "An agent takes over changes of the three sets at SIGHUP.",
        ),
        cfg.StrOpt("cpu_dedicated_set", metavar=_CPULIST, help="pCPUs for pinned vCPUs, one each. Disjoint from the two other sets."),
        cfg.StrOpt(
            "cpu_overhead_set",
            metavar=_CPULIST,
            help="pCPUs for overhead threads alone: emulator threads, iothreads and vhost threads of guests "
            "with hw:emulator_threads_policy=share.",
            sample_default="cpu_shared_set, where that is given",
        ),
        cfg.BoolOpt(
            "packing_host_numa_cells_allocation_strategy",
            default=False,
            help="Which host cells a guest's cells prefer: true takes the fullest that still fit, false the emptiest. "
            "Unset is false, except that host_strategy = least-loss then chooses cells by what their use would lose.",
        ),
    ),
)

_DEFAULT = OptionGroup(
    name="DEFAULT",
    title="Ratios and reserves, as Nova has them.",
    nova=frozenset(
        {
            "host",
            "cpu_allocation_ratio",
            "ram_allocation_ratio",
            "disk_allocation_ratio",
            "initial_cpu_allocation_ratio",
            "initial_ram_allocation_ratio",
            "initial_disk_allocation_ratio",
            "reserved_host_memory_mb",
            "reserved_host_disk_mb",
            "reserved_huge_pages",
        }
    ),
    options=(
        cfg.StrOpt("host", metavar="a host name", sample_default="the machine's host name", help="The name that this host goes by."),
        cfg.FloatOpt(
            "cpu_allocation_ratio",
            min=0.0,
            sample_default="initial_cpu_allocation_ratio",
            help="How many floating vCPUs each shared pCPU may carry. 0 counts as not set.",
        ),
        cfg.FloatOpt(
            "ram_allocation_ratio",
            min=0.0,
            sample_default="initial_ram_allocation_ratio",
            help="How often memory is promised to floating guests; a guest with cells is never overcommitted. 0 counts as not set.",
        ),
        cfg.FloatOpt(
            "disk_allocation_ratio",
            min=0.0,
            sample_default="initial_disk_allocation_ratio",
            help="How often the disk may be promised. 0 counts as not set.",
        ),
        cfg.FloatOpt("initial_cpu_allocation_ratio", default=4.0, min=0.01, help="The ratio where cpu_allocation_ratio is not set."),
        cfg.FloatOpt("initial_ram_allocation_ratio", default=1.0, min=0.01, help="The ratio where ram_allocation_ratio is not set."),
        cfg.FloatOpt("initial_disk_allocation_ratio", default=1.0, min=0.01, help="The ratio where disk_allocation_ratio is not set."),
        cfg.IntOpt("reserved_host_memory_mb", default=512, min=0, help="MiB of small-page memory that the host keeps for itself."),
        cfg.IntOpt("reserved_host_disk_mb", default=0, min=0, help="MiB of disk that the host keeps for itself, rounded up to whole GiB."),
        cfg.MultiOpt(
            "reserved_huge_pages",
            item_type=types.Dict(),
            metavar="node:CELL,size:SIZE,count:PAGES, with SIZE in KiB or with a unit as in 1GB; one line for each cell and size",
            help="Huge pages that the host keeps for others, by cell and size.",
        ),
    ),
)

_OVERHEAD = OptionGroup(
    name="overhead",
    title="How overhead threads are accounted.",
    exclusive=True,
    options=(
        cfg.FloatOpt(
            "shared_fraction",
            default=0.5,
            min=0.0,
            max=1.0,
            help="The part of the pCPUs in both the overhead and the shared pool that counts as overhead; the ratio of floating vCPUs "
            "shrinks by the same pCPUs. 0 gives Nova's totals and books nothing there.",
        ),
        cfg.StrOpt(
            "booking",
            default="enforce",
            choices=["enforce", "report"],
            help="Whether a fully booked overhead pool refuses guests of policy share (enforce) or takes them with a warning (report).",
        ),
        cfg.StrOpt(
            "locality",
            default="pool",
            choices=["pool", "prefer_local"],
            help="Where the overhead threads of a guest of policy share run: on the whole overhead pool (pool), or on the part of it on "
            "the guest's host cells (prefer_local). If these cells have no part of the pool, or one of their parts has too little room, "
            "the threads run on the whole pool.",
        ),
        cfg.IntOpt(
            "guest_millicpu", default=20, min=0, max=1_000_000, help="What one guest of policy share books, in thousandths of a pCPU."
        ),
        cfg.IntOpt("vcpu_millicpu", default=2, min=0, max=1_000_000, help="What each of its vCPUs adds."),
        cfg.IntOpt("disk_millicpu", default=10, min=0, max=1_000_000, help="What each of its disks adds."),
        cfg.IntOpt(
            "nic_millicpu",
            default=10,
            min=0,
            max=1_000_000,
            help="What each of its network interfaces adds. One with several queues adds it for each.",
        ),
    ),
)

_LIBVIRT = OptionGroup(
    name="libvirt",
    title="The hypervisor.",
    nova=frozenset({"connection_uri", "virt_type", "realtime_scheduler_priority", "cpu_mode", "cpu_models", "cpu_model_extra_flags"}),
    options=(
        cfg.StrOpt(
            "connection_uri",
            metavar="a libvirt URI of QEMU, such as qemu:///system",
            sample_default="qemu:///system",
            help="The libvirt to work on.",
        ),
        cfg.StrOpt(
            "virt_type",
            choices=["kvm", "qemu"],
            sample_default="kvm where the host has it, else qemu",
            help="How guests run: kvm, or qemu for emulation without KVM.",
        ),
        cfg.StrOpt(
            "cpu_mode",
            choices=["host-model", "host-passthrough", "custom", "none"],
            sample_default="host-model for KVM, none for emulation",
            help="The processor that new guests see. host-model is written out when a guest is defined, so that the guest keeps it.",
        ),
        cfg.ListOpt(
            "cpu_models",
            metavar="names of libvirt's, such as Cascadelake-Server, Skylake-Server",
            sample_default="none",
            help="With cpu_mode = custom, the processors to choose from, the best first: a guest gets the first that the host can give.",
        ),
        cfg.ListOpt(
            "cpu_model_extra_flags",
            metavar="features such as pcid, +ssbd, -mtrr",
            sample_default="none",
            help="Features that new guests get (with + or nothing) or do not get (with -), whatever the processor says.",
        ),
        cfg.IntOpt("realtime_scheduler_priority", default=1, min=1, max=99, help="The SCHED_FIFO priority of realtime vCPUs."),
    ),
)

_PINFOLD = OptionGroup(
    name="pinfold",
    title="Folders and files of pinfold's own.",
    exclusive=True,
    options=(
        cfg.StrOpt(
            "state_dir", default="/var/lib/pinfold", metavar=_PATH, help="Overlays, serial logs and the lock that starts take turns by."
        ),
        cfg.StrOpt(
            "images_dir",
            metavar=_PATH,
            sample_default="images under state_dir",
            help="The only folder that images named without a path come from.",
        ),
        cfg.StrOpt(
            "templates_dir",
            metavar=_PATH,
            sample_default="templates under state_dir",
            help="The only folder that templates named without a path come from.",
        ),
        cfg.StrOpt("flavors_file", default="/etc/pinfold/flavors.toml", metavar=_PATH, help="The flavors that commands take by name."),
    ),
)

_NETWORKS = OptionGroup(
    name="networks",
    title="The networks that this host offers to servers.",
    exclusive=True,
    options=(
        cfg.StrOpt(
            "file",
            metavar=_PATH,
            sample_default="networks.toml beside the first configuration file",
            help="The file that names the networks. The agent reads it when it starts. A host without the file offers none.",
        ),
    ),
)

GROUPS: tuple[OptionGroup, ...] = (_COMPUTE, _DEFAULT, _OVERHEAD, _LIBVIRT, _PINFOLD, _NETWORKS)

AUDITED: tuple[OptionGroup, ...] = (
    OptionGroup(
        name="DEFAULT",
        title="Options of Nova's that placing refuses.",
        options=(cfg.StrOpt("vcpu_pin_set", metavar=_CPULIST), cfg.IntOpt("reserved_host_cpus", default=0, min=0)),
    ),
    OptionGroup(
        name="libvirt", title="Options of Nova's that placing refuses.", options=(cfg.BoolOpt("cpu_power_management", default=False),)
    ),
)
"""The options of `REFUSED` with their types, for the commands that place no guests."""

REFUSED: tuple[RefusedOption, ...] = (
    RefusedOption(
        group="DEFAULT",
        name="vcpu_pin_set",
        harmless=(),
        instead="it was one pool for everything; write [compute] cpu_dedicated_set for pinned, cpu_shared_set for floating vCPUs",
        audited="one pool for pinned and floating vCPUs; cpu_shared_set then holds overhead threads alone, and cpu_dedicated_set may not "
        "stand beside it",
    ),
    RefusedOption(
        group="DEFAULT",
        name="reserved_host_cpus",
        harmless=("0",),
        instead="a number does not say which pCPUs; leave the host's own pCPUs out of [compute] cpu_shared_set and cpu_dedicated_set",
        audited="so many pCPUs of the shared pool are kept for the host",
    ),
    RefusedOption(
        group="libvirt",
        name="cpu_power_management",
        harmless=("false", "no", "off", "0"),
        instead="pinfold neither switches pCPUs off nor places guests on pCPUs that another service switches; set it to false",
        audited="dedicated pCPUs that are offline stay in the pool: Nova switches them on for the guest that needs them",
    ),
)
