"""One process of a race: it says that it is ready, waits for the word, starts one guest, and prints what came of it."""

from __future__ import annotations

import json
import sys

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import PinfoldError
from pinfold.core.fit.answer import NoFit
from pinfold.core.pools import PoolConfig
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor
from pinfold.core.settings import HostSettings
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.drivers.port import Boot
from pinfold.host.description import GuestDescription
from pinfold.host.start import place


def main(uri: str, state_dir: str, rom: str, name: str, *, at_once: bool = False) -> None:
    """Start the guest `name` on the dedicated pCPU 1, when a line comes on standard input or at once."""
    pools = PoolConfig(shared=CpuSet.of(0), dedicated=CpuSet.of(1))
    settings = HostSettings(uri=uri, state_dir=state_dir, pools=pools)
    settings = replace(settings, limits=replace(settings.limits, reserved_memory_mib=0))
    request = compile_request(Flavor(vcpus=1, memory_mib=16, extra_specs=(("hw:cpu_policy", "dedicated"),)))
    driver = LibvirtDriver(uri)
    if not at_once:
        print("ready", flush=True)
        sys.stdin.readline()
    try:
        found = place(driver, settings, GuestDescription(name=name, request=request, boot=Boot(rom=rom)))
        answer = ("refused", found.sentence()) if isinstance(found, NoFit) else ("started", str(found.fit.taken))
    except PinfoldError as error:
        answer = (type(error).__name__, str(error))
    finally:
        driver.close()
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
