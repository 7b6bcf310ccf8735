"""The reference pages of the service: routes, error bodies, metrics, and what stands in Placement; each from the code that serves it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from docs.markdown import code, sentence, table
from fastapi.routing import APIRoute

from pinfold.accounting import resources
from pinfold.api.app import ROUTERS
from pinfold.api.compute.servers.unsupported_actions import UNSUPPORTED_ACTIONS
from pinfold.api.compute.unsupported import UNSUPPORTED
from pinfold.api.errors import CODES, COMPUTE_ERRORS
from pinfold.api.metrics import METRICS, PROCESS_METRICS
from pinfold.api.microversion import NEWEST, OLDEST
from pinfold.core import traits
from pinfold.core.processor_traits import PROCESSOR_TRAITS, TRAITS_OF
from pinfold.watch.metrics import METRICS as OF_WATCH

_TITLES = {
    "versions": ("Versions", "What clients ask before anything else."),
    "flavors": ("Flavors", "Compute."),
    "servers": ("Servers", "Compute."),
    "key pairs": ("Key pairs", "Compute. Each account has its own, at most 100."),
    "hypervisors": ("Hypervisors", "Compute."),
    "services": ("Services", "Compute. Every agent is shown as `nova-compute`."),
    "availability zones": ("Availability zones", "Compute. A zone is made by aggregates."),
    "limits": ("Limits", "Compute."),
    "quotas": ("Quotas", "Compute, and below `/v1` with dedicated pCPUs. A project without a quota has no limits."),
    "usage": ("Usage", "Compute. What servers used, from the records of servers, which are kept for a while after a delete."),
    "aggregates": ("Aggregates", "Compute. Each is an aggregate in Placement too."),
    "images": ("Images", "The image API, over the configured directory and the variants of its images."),
    "networks": ("Networks", "The Network API, read-only over [the hosts' networks files](networks.md)."),
    "hosts": ("Hosts", "What Compute has no words for."),
    "placements": ("Placements and fits", "What Compute has no words for."),
    "capacity": ("Capacity", "How many more guests fit; [Capacity](../how-to/count-free-slots.md) explains the numbers."),
    "drift": ("Drift", "What the agents' audits found; [Findings](findings.md) has every code."),
    "agents": ("Agents", "Each with a bearer token that opens one host. `pinfold host add` makes it."),
    "service": ("The service itself", ""),
}

_ROUTES = f"""# Routes

Compute is served at the microversions {OLDEST} to {NEWEST}; clients ask with `OpenStack-API-Version: compute X.Y` or
`X-OpenStack-Nova-API-Version: X.Y`, and an answer has the keys of its microversion and no others. `/placement` is OpenStack Placement
itself where it is embedded. Everything but `/healthz` and the agents' routes needs HTTP Basic, or with `auth = keystone` a
token of Keystone. The role `reader` may read, `admin` may change, and a `member` of Keystone may change what its project owns.
[Nova's other routes and actions](#what-of-nova-is-not-supported) answer 501 with a sentence that says why.
`/openapi.json` describes every route with its bodies, every key of its answers and the errors that it may give. `GET /servers?name=`
takes a regular expression, as Nova's does, in RE2's syntax.

While a remote Placement, or the Keystone before it, is away, `/healthz` answers 503 and says since when; reading, starts, stops and
deletes go on, agents are heard and aggregates changed; creates end in error.

Without [Keystone](../how-to/keystone.md) nothing tells the `openstack` client which services there are: `availability zone list` needs
`--compute`, and `limits show` and `quota show` end in the client. openstacksdk's `compute.get_limits()` is answered.

"""

_UNSUPPORTED = """## What of Nova is not supported

These routes and actions answer 501 with the sentence, 404 at a microversion at which Nova itself does not have them, and 410 where Nova
itself has removed them.

"""

_ERRORS = """## Errors

Below `/compute` an error is in Compute's form, `{"itemNotFound": {"code": 404, "message": "…"}}`; elsewhere it is
`{"error": {"code": "…", "status": 404, "message": "…"}}`. Bodies of more than 1 MiB or 32 levels are refused before anything reads them,
and nobody's body is read who has not shown a right password or token. A head of more than 64 KiB or 128 headers is answered 431, a client
that takes too long for a head or a body 408, and one with too many connections 429; the connection ends then. `[pinfold_api]` says
[how long](configuration.md) each may take and how many connections there may be. Up to 8 requests may be sent ahead of the first answer.

A body is text in UTF-8 without NUL and without half of a surrogate pair; in those of users a control character other than a line feed and
a tab is refused too, with 400. What agents tell is kept with U+FFFD for each of them.

Passwords are checked a few at a time, and each client address may send so many wrong ones; beyond that the answer is 429, with the seconds
to wait in `Retry-After`. A password that opened is remembered, and agents' tokens are never bounded so. `[pinfold_api]` has the options.

"""

_WATCH = """
## Of `pinfold watch`

`pinfold watch` tells them of its host, with `--listen` and `--textfile`. Series of a guest carry its id. `pinfold_guest_info` has its name:

```
rate(pinfold_guest_run_delay_seconds_total{class="emulator"}[5m]) * on (instance, id) group_left (guest) pinfold_guest_info
```

A counter begins at the first sweep of the process; the counters of a guest that starts later begin at the guest's start. The kernel counts
for each thread:

- A thread that ends keeps what it had at the last sweep. What it ran after that sweep is in the CPU time of its process, and so is the time
  of a thread that began and ended between two sweeps. `pinfold_guest_ended_run_seconds_total` has both, and is wrong by two clock ticks
  (20 ms) at most, however long it counts. How long such a thread waited is lost: at most its waiting within one interval.
- The kernel counts the busy time of a pCPU in clock ticks (10 ms). What others ran on an owned pCPU is that time less the exact time of its
  owner, so bursts that are shorter than a tick are right on average only. A sweep after which other threads own the pCPU counts nothing.

"""

_CLASSES = {
    resources.PCPU: (
        "the dedicated pool, and retiring pCPUs still claimed; what foreign guests are pinned to is reserved",
        "pinned vCPUs, one more for `isolate`, idle siblings of thread policy `isolate`",
    ),
    resources.VCPU: ("the shared pool, with its allocation ratio; less what of it is overhead", "floating vCPUs"),
    resources.MEMORY_MB: ("the memory", "the guest's memory"),
    resources.DISK_GB: ("the disk that overlays go to", "the flavor's disk"),
    resources.OVERHEAD: (
        "1000 for each pCPU of the overhead pool; of what it shares with the shared pool, `[overhead] shared_fraction`",
        "guests with policy `share`, on hosts with a pool: `[overhead]` rates per guest, vCPU, disk and NIC, or queue of a NIC",
    ),
}

_TRAITS = {
    traits.HYPERTHREADING: "Some core has two or more online threads.",
    traits.OVERHEAD_POOL: "An overhead pool is configured.",
}


def routes() -> str:
    """Every route by noun, and the forms of errors."""
    parts = [_ROUTES]
    for tag, found in groupby(sorted(_api_routes(), key=_noun), key=lambda route: str(route.tags[0])):
        title, words = _TITLES[tag]
        rows = [(" ".join(sorted(route.methods)), code(route.path), sentence(_first(route.endpoint.__doc__ or ""))) for route in found]
        parts.append(f"## {title}\n\n" + (f"{words}\n\n" if words else "") + table(("method", "path", "what it does"), rows) + "\n")
    parts.append(_UNSUPPORTED + table(("what", "microversions", "why, and what to do instead"), _unsupported_rows()) + "\n")
    parts.append(_ERRORS)
    rows = [(str(status), code(COMPUTE_ERRORS.get(status, "computeFault")), code(name)) for status, name in sorted(CODES.items())]
    parts.append(table(("status", "below /compute", "elsewhere"), rows))
    return "".join(parts)


def _unsupported_rows() -> Iterator[tuple[str, str, str]]:
    entries = [*(entry for _, _, entry in UNSUPPORTED), *UNSUPPORTED_ACTIONS.values()]
    for (words, versions), found in groupby(entries, key=lambda entry: (entry.sentence, entry.versions)):
        names = ", ".join(code(entry.name) for entry in found)
        yield names, versions, sentence(words)


def metrics() -> str:
    """Every metric."""
    intro = (
        "# Metrics\n\n## Of the service\n\n`/metrics` of the API tells them in Prometheus' text form. Those of the fleet are read from the "
        "store when asked, so that every replica tells the same.\n\n"
    )
    own = "\nThese are of the one API process that is asked, since its start:\n\n"
    rows = [(code(name), kind.value, sentence(words), ", ".join(map(code, labels))) for name, (kind, words, labels) in OF_WATCH.items()]
    return (
        intro
        + _metric_table(METRICS)
        + own
        + _metric_table(PROCESS_METRICS)
        + _WATCH
        + table(("metric", "type", "meaning", "labels"), rows)
    )


def _metric_table(metrics: Mapping[str, tuple[str, tuple[str, ...]]]) -> str:
    rows = [(code(name), sentence(words), ", ".join(map(code, labels))) for name, (words, labels) in metrics.items()]
    return table(("metric", "meaning", "labels"), rows)


_OVERBOOKED = """## When Placement promises too much

If two API processes allocate on one host at the same moment, Placement (16.0, on PostgreSQL) may book one request more than the host has.
It sees that the provider has changed, tries again inside the same transaction, and counts what its own first try wrote as used before.
The log of the API then has a line such as *Over capacity for PCPU on resource provider ID but allocation of 6 reduces existing overage
from 18 to 18*, with one number twice, and for a moment the provider's usage is above its inventory. No guest comes of it: the ledger fits
each guest on the locked host before the claim is held ([Why no pCPU is given twice](../explanation/claims.md)). The guest that has no
room goes to the next host, and its allocation with it. If no host takes it, the create is refused for the ledger's reason (*cell 1 has 2
free dedicated pCPUs, 6 needed*), and its allocation is removed. What others allocate on a provider, to keep capacity back, the ledger
does not know, so that may be overbooked: keep capacity back by the pools and by `reserved_host_memory_mb`.
"""


def placement() -> str:
    """Resource classes and traits."""
    intro = (
        "# Placement\n\nEach host is one resource provider of its name. What it offers and what guests consume is derived from the ledger. "
        "Guests are consumers of the type `PINFOLD_GUEST`; the healer touches no others. "
        "Do not share one Placement with a Nova cloud: Nova's own audit would delete these allocations.\n\n## Resource classes\n\n"
    )
    classes = table(("class", "total", "consumed by"), [(code(name), *words) for name, words in _CLASSES.items()])
    traits = table(("trait", "when"), [(code(name), words) for name, words in _TRAITS.items()])
    processor = (
        "The traits of the processor are those of the one that new guests get, by `[libvirt] cpu_mode` and libvirt's word on what the host "
        "can give. The agent reports them, and a change renews them. With `cpu_mode = none` there are none."
    )
    features = {trait: [name for name, has in TRAITS_OF.items() if trait in has] for trait in sorted(PROCESSOR_TRAITS)}
    of_processor = table(
        ("trait", "feature, by libvirt's name"), [(code(trait), ", ".join(map(code, names))) for trait, names in features.items()]
    )
    theirs = "Other traits, and aggregates, that operators set on a provider are respected, and never removed."
    return f"{intro}{classes}\n{_OVERBOOKED}\n## Traits\n\n{traits}\n{processor}\n\n{of_processor}\n{theirs}\n"


def _api_routes() -> Iterator[APIRoute]:
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                yield route


def _noun(route: APIRoute) -> int:
    return list(_TITLES).index(str(route.tags[0]))


def _first(text: str) -> str:
    return text.strip().split("\n\n")[0]
