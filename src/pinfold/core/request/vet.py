"""`vet_extra_spec`: check one extra spec by itself. `compile_request` checks combinations."""

from __future__ import annotations

from pinfold.core.cpuset import MAX_CPU
from pinfold.core.request.merge import merge
from pinfold.core.request.model import Flavor


def vet_extra_spec(key: str, value: str) -> None:
    """Raise `InvalidRequest` if the key is unknown or unsupported, or its value is malformed for a flavor of any size.

    Users set extra specs one by one, so a key may lack another one that it needs (`hw:numa_cpus.0` needs `hw:numa_nodes`).

    >>> vet_extra_spec("hw:emulator_threads_policy", "share")
    >>> vet_extra_spec("hw:emulator_threads", "share")
    Traceback (most recent call last):
    ...
    pinfold.core.errors.InvalidRequest: hw:emulator_threads is not a known extra spec; did you mean hw:emulator_threads_policy?
    """
    beside = (("hw:cpu_realtime", "true"),) if key == "hw:cpu_realtime_mask" else ()
    merge(Flavor(vcpus=MAX_CPU + 1, memory_mib=1, extra_specs=(*beside, (key, value))))
