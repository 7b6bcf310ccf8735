"""The reference page of the emulator-thread policies: the contract, and beside it what the engine answers for each row."""

from __future__ import annotations

from docs.markdown import code, table

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import NoFit, Strategy
from pinfold.core.fit.engine import fit
from pinfold.core.host import HostState
from pinfold.core.hosttext import host
from pinfold.core.overhead import PoolState, masks, rules
from pinfold.core.pools import PoolConfig, build_pools
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import EmulatorPolicy, Flavor

_SHAPE = "core:8 pu:2"
_WITH_POOL = PoolConfig(shared=CpuSet.parse("0-3"), dedicated=CpuSet.parse("4-15"))
_WITHOUT_POOL = PoolConfig(dedicated=CpuSet.parse("4-15"))
_DEDICATED = {"hw:cpu_policy": "dedicated"}
_STATES = {PoolState.ONLINE: "online", PoolState.OFFLINE: "configured, all its pCPUs offline", PoolState.NONE: "none configured"}
_ROWS: tuple[tuple[str, dict[str, str]], ...] = (
    ("pinned, policy unset", _DEDICATED),
    ("pinned, share", _DEDICATED | {"hw:emulator_threads_policy": "share"}),
    ("pinned, isolate", _DEDICATED | {"hw:emulator_threads_policy": "isolate"}),
    ("pinned, isolate, whole cores", _DEDICATED | {"hw:emulator_threads_policy": "isolate", "hw:cpu_thread_policy": "isolate"}),
    ("realtime but vCPU 0, unset", _DEDICATED | {"hw:cpu_realtime": "yes", "hw:cpu_realtime_mask": "^0"}),
    ("all realtime, share", _DEDICATED | {"hw:cpu_realtime": "yes", "hw:emulator_threads_policy": "share"}),
    ("all realtime, unset", _DEDICATED | {"hw:cpu_realtime": "yes"}),
    ("mixed, unset", {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "^0"}),
    ("mixed, share", {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "^0", "hw:emulator_threads_policy": "share"}),
    ("floating", {}),
    ("floating, share", {"hw:emulator_threads_policy": "share"}),
)


def policies() -> str:
    """The contract of the policies and the answers of the engine."""
    contract = table(
        ("`hw:emulator_threads_policy`", "overhead pool", "emulator threads", "the guest books", "the host must have"),
        [row for policy in EmulatorPolicy for row in _contract(policy)],
    )
    rows = [(name, _answer(specs, _WITH_POOL), _answer(specs, _WITHOUT_POOL)) for name, specs in _ROWS]
    answers = table(("guest of 2 vCPUs", "shared 0-3, dedicated 4-15", "dedicated 4-15 alone"), rows)
    return f"""# Emulator-thread policies

The overhead pool is `[compute] cpu_shared_set`, unless `cpu_overhead_set` is given. The rule covers QEMU's main loop, every thread that it
creates, iothreads, and vhost threads.

{contract}
*The guest's own pCPUs* are those of its vCPUs that are not realtime, the float set of a mixed guest's shared vCPUs included. A guest with
floating vCPUs alone runs entirely on the shared pool. A pool that is configured but wholly offline, or fully booked, refuses `share`
guests; it never lets them float. With `[overhead] locality = prefer_local` a `share` guest has the part of the pool on its own host cells,
if there is one with room; otherwise the whole pool. The policy has no image property, as in Nova: it is the operator's decision.

## What the engine answers

On an empty host of the shape `{_SHAPE}` (8 cores of two threads). `v0` is vCPU 0, `emu` the emulator threads.

{answers}"""


def _contract(policy: EmulatorPolicy) -> list[tuple[str, ...]]:
    """The rows of one policy; one row where the pool makes no difference."""
    name = "unset" if policy is EmulatorPolicy.UNSET else code(policy.value)
    by_state = {state: rules(policy)[state] for state in (PoolState.ONLINE, PoolState.OFFLINE, PoolState.NONE)}
    if len(set(by_state.values())) == 1:
        one = by_state[PoolState.NONE]
        return [(name, "any or none", one.sentence, one.booked(), one.needed())]
    return [(name, _STATES[state], one.sentence, one.booked(), one.needed()) for state, one in by_state.items()]


def _answer(specs: dict[str, str], config: PoolConfig) -> str:
    topology = host(_SHAPE)
    pools, _ = build_pools(config, topology)
    try:
        request = compile_request(Flavor(vcpus=2, memory_mib=512, extra_specs=tuple(sorted(specs.items()))))
    except InvalidRequest as error:
        return f"refused as a request: {error}"
    found = fit(request, HostState(topology=topology, pools=pools), Strategy.PACK)
    if isinstance(found, NoFit):
        return f"does not fit: {found.sentence()}"
    places = masks(found)
    words = [f"v{vcpu} {cpus}" + (" fifo" if vcpu in places.realtime else "") for vcpu, cpus in enumerate(places.vcpus)]
    idle = f", idle {found.idle_siblings}" if found.idle_siblings else ""
    return code(", ".join(words) + f", emu {places.overhead}" + idle)
