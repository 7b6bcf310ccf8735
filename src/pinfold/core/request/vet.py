"""`vet_extra_spec`: whether one extra spec may stand in a flavor at all. How several go together is `compile_request`'s to say."""

from __future__ import annotations

from pinfold.core.cpuset import MAX_CPU
from pinfold.core.request.merge import merge
from pinfold.core.request.model import Flavor


def vet_extra_spec(key: str, value: str) -> None:
    """Raise `InvalidRequest` when the key is unknown or unsupported, or its value malformed, whatever the flavor's size.

    A flavor is filled key by key, so that a key which needs another one (`hw:numa_cpus.0` needs `hw:numa_nodes`) is no fault yet.

    >>> vet_extra_spec("hw:emulator_threads_policy", "share")
    >>> vet_extra_spec("hw:emulator_threads", "share")
    Traceback (most recent call last):
    ...
    pinfold.core.errors.InvalidRequest: hw:emulator_threads is not a known extra spec; did you mean hw:emulator_threads_policy?
    """
    beside = (("hw:cpu_realtime", "true"),) if key == "hw:cpu_realtime_mask" else ()
    merge(Flavor(vcpus=MAX_CPU + 1, memory_mib=1, extra_specs=(*beside, (key, value))))
