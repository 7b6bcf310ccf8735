"""Every combination that is refused, with the key it names and its exact sentence."""

from __future__ import annotations

import pytest
from tests.build.requests import flavor

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.compile import compile_request

DEDICATED = "hw:cpu_policy=dedicated"
MIXED = "hw:cpu_policy=mixed"


NEEDS_PINNED = "but no vCPU is pinned; it needs hw:cpu_policy dedicated or mixed"

# What is asked, the key that the refusal names, and its sentence. The flavor has 4 vCPUs and 2048 MiB.
REFUSED = [
    ("hw:cpu_policy=pinned", "hw:cpu_policy", "hw:cpu_policy is 'pinned'; it must be dedicated, shared or mixed"),
    ("hw:cpu_policy=Dedicated", "hw:cpu_policy", "hw:cpu_policy is 'Dedicated'; it must be dedicated, shared or mixed"),
    ("hw:cpu_policy=", "hw:cpu_policy", "hw:cpu_policy is ''; it must be dedicated, shared or mixed"),
    (
        f"{DEDICATED} hw:cpu_thread_policy=avoid",
        "hw:cpu_thread_policy",
        "hw:cpu_thread_policy is 'avoid'; it must be prefer, isolate or require",
    ),
    ("hw:cpu_thread_policy=prefer", "hw:cpu_thread_policy", f"hw:cpu_thread_policy is 'prefer', {NEEDS_PINNED}"),
    ("hw:cpu_policy=shared hw:cpu_thread_policy=require", "hw:cpu_thread_policy", f"hw:cpu_thread_policy is 'require', {NEEDS_PINNED}"),
    (
        f"{DEDICATED} hw:emulator_threads_policy=pool",
        "hw:emulator_threads_policy",
        "hw:emulator_threads_policy is 'pool'; it must be share or isolate",
    ),
    (
        f"{DEDICATED} hw:emulator_threads_policy=unset",
        "hw:emulator_threads_policy",
        "hw:emulator_threads_policy is 'unset'; it must be share or isolate",
    ),
    ("hw:emulator_threads_policy=share", "hw:emulator_threads_policy", f"hw:emulator_threads_policy is 'share', {NEEDS_PINNED}"),
    (
        "hw:cpu_policy=shared hw:emulator_threads_policy=isolate",
        "hw:emulator_threads_policy",
        f"hw:emulator_threads_policy is 'isolate', {NEEDS_PINNED}",
    ),
    (
        f"{DEDICATED} hw:emulator_threads=share",
        "hw:emulator_threads",
        "hw:emulator_threads is not a known extra spec; did you mean hw:emulator_threads_policy?",
    ),
    (
        f"{DEDICATED} hw:emulator_thread_policy=share",
        "hw:emulator_thread_policy",
        "hw:emulator_thread_policy is not a known extra spec; did you mean hw:emulator_threads_policy?",
    ),
    ("hw:cpu_realtime=true", "hw:cpu_realtime", f"hw:cpu_realtime is 'true', {NEEDS_PINNED}"),
    (
        f"{DEDICATED} hw:cpu_realtime=true",
        "hw:cpu_realtime",
        (
            "hw:cpu_realtime makes every vCPU (0 to 3) realtime, which leaves none for the emulator threads; "
            "hw:emulator_threads_policy must be share or isolate, or hw:cpu_realtime_mask must leave a vCPU out"
        ),
    ),
    (
        f"{DEDICATED} hw:cpu_realtime=true hw:cpu_realtime_mask=0-3",
        "hw:cpu_realtime",
        (
            "hw:cpu_realtime makes every vCPU (0 to 3) realtime, which leaves none for the emulator threads; "
            "hw:emulator_threads_policy must be share or isolate, or hw:cpu_realtime_mask must leave a vCPU out"
        ),
    ),
    (
        f"{DEDICATED} hw:cpu_realtime=maybe",
        "hw:cpu_realtime",
        "hw:cpu_realtime is 'maybe'; it must be true or false (also yes, no, on, off, t, f, y, n, 1, 0)",
    ),
    (
        f"{DEDICATED} hw:cpu_realtime_mask=^0",
        "hw:cpu_realtime_mask",
        "hw:cpu_realtime_mask is '^0', but hw:cpu_realtime is not set; the mask needs hw:cpu_realtime=true",
    ),
    (
        f"{DEDICATED} hw:cpu_realtime=true hw:cpu_realtime_mask=^0-3",
        "hw:cpu_realtime_mask",
        "hw:cpu_realtime_mask is '^0-3', which names no vCPU; at least one is needed",
    ),
    (
        f"{DEDICATED} hw:cpu_realtime=true hw:cpu_realtime_mask=3-4",
        "hw:cpu_realtime_mask",
        "hw:cpu_realtime_mask is '3-4', but the flavor has no vCPU 4; it has 0 to 3",
    ),
    (
        f"{DEDICATED} hw:cpu_realtime=true hw:cpu_realtime_mask=^0 hw:locked_memory=false",
        "hw:locked_memory",
        "hw:locked_memory is 'false', but hw:cpu_realtime locks the guest's memory; it must be true or not set",
    ),
    (
        MIXED,
        "hw:cpu_policy",
        (
            "hw:cpu_policy is 'mixed', but nothing says which vCPUs are pinned; "
            "it needs hw:cpu_dedicated_mask, or hw:cpu_realtime with hw:cpu_realtime_mask"
        ),
    ),
    (
        f"{MIXED} hw:cpu_realtime=true hw:emulator_threads_policy=share",
        "hw:cpu_policy",
        (
            "hw:cpu_policy is 'mixed', but nothing says which vCPUs are pinned; "
            "it needs hw:cpu_dedicated_mask, or hw:cpu_realtime with hw:cpu_realtime_mask"
        ),
    ),
    (
        f"{MIXED} hw:cpu_dedicated_mask=0-3",
        "hw:cpu_dedicated_mask",
        "hw:cpu_dedicated_mask is '0-3', which pins all 4 vCPUs; in a mixed guest it must leave some to float",
    ),
    (
        f"{MIXED} hw:cpu_dedicated_mask=^0-3",
        "hw:cpu_dedicated_mask",
        "hw:cpu_dedicated_mask is '^0-3', which names no vCPU; at least one is needed",
    ),
    (
        f"{MIXED} hw:cpu_dedicated_mask=0,4",
        "hw:cpu_dedicated_mask",
        "hw:cpu_dedicated_mask is '0,4', but the flavor has no vCPU 4; it has 0 to 3",
    ),
    (
        f"{MIXED} hw:cpu_dedicated_mask=2-3 hw:cpu_realtime=true hw:cpu_realtime_mask=3",
        "hw:cpu_dedicated_mask",
        (
            "hw:cpu_dedicated_mask is '2-3' beside hw:cpu_realtime; a mixed guest's pinned vCPUs must be named once, "
            "by hw:cpu_dedicated_mask or by hw:cpu_realtime_mask"
        ),
    ),
    (
        f"{DEDICATED} hw:cpu_dedicated_mask=0-1",
        "hw:cpu_dedicated_mask",
        "hw:cpu_dedicated_mask is '0-1', but the CPU policy is dedicated; the mask needs hw:cpu_policy=mixed",
    ),
    (
        "hw:cpu_dedicated_mask=0-1",
        "hw:cpu_dedicated_mask",
        "hw:cpu_dedicated_mask is '0-1', but the CPU policy is shared; the mask needs hw:cpu_policy=mixed",
    ),
    (
        f"{DEDICATED} resources:PCPU=4",
        "resources:PCPU",
        "resources:PCPU is '4' beside hw:cpu_policy=dedicated; only one of the two keys may be set",
    ),
    (
        "hw:cpu_policy=shared resources:VCPU=0",
        "resources:VCPU",
        "resources:VCPU is '0' beside hw:cpu_policy=shared; only one of the two keys may be set",
    ),
    (
        "resources:VCPU=2 resources:PCPU=2",
        "resources:PCPU",
        (
            "resources:VCPU is '2' and resources:PCPU is '2'; "
            "only one may be set, and a guest with both kinds of vCPUs has hw:cpu_policy=mixed"
        ),
    ),
    ("resources:PCPU=3", "resources:PCPU", "resources:PCPU is '3', but the flavor has 4 vCPUs; it must be 4"),
    (
        "resources:PCPU=4 hw:emulator_threads_policy=isolate",
        "resources:PCPU",
        "resources:PCPU is '4', but the flavor has 4 vCPUs and hw:emulator_threads_policy=isolate needs one more; it must be 5",
    ),
    ("resources:VCPU=3", "resources:VCPU", "resources:VCPU is '3', but the flavor has 4 vCPUs; it must be 4"),
    ("resources:VCPU=0", "resources:VCPU", "resources:VCPU is '0', but the flavor has 4 vCPUs; it must be 4"),
    (
        "resources:VCPU=four",
        "resources:VCPU",
        "resources:VCPU is 'four'; it must be the flavor's number of vCPUs, or 0 beside resources:PCPU",
    ),
    ("resources:VCPU=4 hw:cpu_thread_policy=isolate", "hw:cpu_thread_policy", f"hw:cpu_thread_policy is 'isolate', {NEEDS_PINNED}"),
    (
        "trait:HW_CPU_HYPERTHREADING=required",
        "trait:HW_CPU_HYPERTHREADING",
        f"trait:HW_CPU_HYPERTHREADING is 'required', {NEEDS_PINNED}",
    ),
    (
        f"{DEDICATED} hw:cpu_thread_policy=require trait:HW_CPU_HYPERTHREADING=required",
        "hw:cpu_thread_policy",
        "hw:cpu_thread_policy is 'require' beside trait:HW_CPU_HYPERTHREADING=required; only one of the two keys may be set",
    ),
    ("hw:numa_nodes=0", "hw:numa_nodes", "hw:numa_nodes is '0'; it must be a whole number from 1 to 128"),
    (
        "hw:numa_nodes=3",
        "hw:numa_nodes",
        (
            "hw:numa_nodes is '3', which does not divide the flavor's 4 vCPUs evenly; "
            "give each cell its part by hw:numa_cpus.N and hw:numa_mem.N"
        ),
    ),
    (
        "hw:numa_nodes=8",
        "hw:numa_nodes",
        (
            "hw:numa_nodes is '8', which does not divide the flavor's 4 vCPUs evenly; "
            "give each cell its part by hw:numa_cpus.N and hw:numa_mem.N"
        ),
    ),
    (
        "hw:numa_cpus.0=0-3",
        "hw:numa_cpus.0",
        "hw:numa_cpus.0 is '0-3', but hw:numa_nodes is not set; it needs the number of guest cells",
    ),
    (
        f"{DEDICATED} hw:numa_cpus.0=0-3 hw:numa_mem.0=2048",
        "hw:numa_cpus.0",
        "hw:numa_cpus.0 is '0-3', but hw:numa_nodes is not set; it needs the number of guest cells",
    ),
    (
        "hw:numa_mem.0=2048",
        "hw:numa_mem.0",
        "hw:numa_mem.0 is '2048', but hw:numa_nodes is not set; it needs the number of guest cells",
    ),
    (
        "hw:numa_nodes=2 hw:numa_cpus.0=0-1 hw:numa_cpus.1=2-3",
        "hw:numa_mem.0",
        "hw:numa_mem.0 is not set; where one cell has hw:numa_cpus.N and hw:numa_mem.N, all 2 need both",
    ),
    (
        "hw:numa_nodes=2 hw:numa_cpus.0=0-3 hw:numa_mem.0=2048",
        "hw:numa_cpus.1",
        "hw:numa_cpus.1 is not set; where one cell has hw:numa_cpus.N and hw:numa_mem.N, all 2 need both",
    ),
    (
        "hw:numa_nodes=1 hw:numa_cpus.0=0-3 hw:numa_mem.0=2048 hw:numa_mem.1=1",
        "hw:numa_mem.1",
        "hw:numa_mem.1 is '1', but there is no cell 1; hw:numa_nodes=1 has only 0",
    ),
    (
        "hw:numa_nodes=2 hw:numa_cpus.0=0-2 hw:numa_cpus.1=2-3 hw:numa_mem.0=1024 hw:numa_mem.1=1024",
        "hw:numa_cpus.1",
        "hw:numa_cpus.1 is '2-3', but vCPU 2 is in hw:numa_cpus.0 already; each vCPU is in one cell",
    ),
    (
        "hw:numa_nodes=2 hw:numa_cpus.0=0 hw:numa_cpus.1=2 hw:numa_mem.0=1024 hw:numa_mem.1=1024",
        "hw:numa_cpus.0",
        "hw:numa_cpus.N leave vCPUs 1,3 in no cell; each of 0 to 3 must be in one",
    ),
    (
        "hw:numa_nodes=2 hw:numa_cpus.0=0-1 hw:numa_cpus.1=2-3 hw:numa_mem.0=1024 hw:numa_mem.1=512",
        "hw:numa_mem.0",
        "hw:numa_mem.N add up to 1536 MiB; the sum must be the flavor's 2048 MiB",
    ),
    (
        "hw:numa_nodes=1 hw:numa_cpus.0=0-4 hw:numa_mem.0=2048",
        "hw:numa_cpus.0",
        "hw:numa_cpus.0 is '0-4', but the flavor has no vCPU 4; it has 0 to 3",
    ),
    (
        "hw:numa_nodes=2 hw:numa_cpus.0=0-3 hw:numa_cpus.1= hw:numa_mem.0=1024 hw:numa_mem.1=1024",
        "hw:numa_cpus.1",
        "hw:numa_cpus.1 is '', which names no vCPU; at least one is needed",
    ),
    (
        "hw:numa_nodes=1 hw:numa_cpus.0=0-3 hw:numa_mem.0=2GB",
        "hw:numa_mem.0",
        "hw:numa_mem.0 is '2GB'; it must be a whole number of MiB, at least 1",
    ),
    (
        "hw:mem_page_size=1GB hw:numa_nodes=4",
        "hw:mem_page_size",
        "hw:mem_page_size is '1GB', but guest cell 0 has 512 MiB; its memory must be a whole number of pages of 1048576 KiB",
    ),
    (
        "hw:mem_page_size=2Mb",
        "hw:mem_page_size",
        "hw:mem_page_size is '2Mb', which counts bits; write 2MB for bytes",
    ),
    (
        "hw:mem_page_size=3MB",
        "hw:mem_page_size",
        (
            "hw:mem_page_size is '3MB'; "
            "it must be small, large, any, or a power of two from 4 KiB to 16 GiB such as 2048 (KiB), 2MB, 2MiB, 2M or 1GB"
        ),
    ),
    (
        "hw:locked_memory=true",
        "hw:locked_memory",
        (
            "hw:locked_memory is 'true', but the guest's memory is not bound to cells; "
            "it needs hw:mem_page_size, hw:numa_nodes or pinned vCPUs"
        ),
    ),
    ("hw:cpu_sockets=0", "hw:cpu_sockets", "hw:cpu_sockets is '0'; it must be a whole number from 1 to 8192"),
    ("hw:cpu_sockets=3", "hw:cpu_sockets", "hw:cpu_sockets is '3', but the flavor has 4 vCPUs; the product must divide 4"),
    (
        "hw:cpu_sockets=2 hw:cpu_cores=4",
        "hw:cpu_sockets",
        "hw:cpu_sockets is '2' and hw:cpu_cores is '4', but the flavor has 4 vCPUs; the product must divide 4",
    ),
    (
        "hw:cpu_sockets=1 hw:cpu_cores=2 hw:cpu_threads=1",
        "hw:cpu_sockets",
        "hw:cpu_sockets is '1' and hw:cpu_cores is '2' and hw:cpu_threads is '1', but the flavor has 4 vCPUs; the product must be 4",
    ),
]


@pytest.mark.parametrize(("specs", "key", "sentence"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refused_with_its_sentence(specs: str, key: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        compile_request(flavor(specs))
    assert str(caught.value) == sentence
    assert caught.value.key == key
