"""`pinfold simulate`: how many guests a fleet holds, by emulator policy and overhead pool. Nothing has to run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pinfold.cli import options as opt
from pinfold.cli.exit_status import tell
from pinfold.cli.output import respond
from pinfold.core.errors import InvalidRequest

if TYPE_CHECKING:
    from pinfold.simulation.model import GuestMix, Setting, SimulatedFleet
    from pinfold.simulation.run import Notice

_SECONDS_BETWEEN_LINES: Final = 5.0
_LOAD: Final = 0.9

Hosts = Annotated[
    int | None, typer.Option("--hosts", metavar="N", min=1, max=100_000, help="How many hosts; default 100, or those of --fleet.")
]
HostText = Annotated[
    list[str] | None,
    typer.Option(
        "--host-text",
        metavar="TEXT",
        help='A host, such as "pack:2 core:24 pu:2 mem:196608", mem: the MiB of each cell; with several, hosts take them in turn.',
    ),
]
FleetFile = Annotated[
    str | None, typer.Option("--fleet", metavar="FILE", help="Hosts from a CSV file with columns cell0_pcpus, cell0_gib, cell1_pcpus, ...")
]
Mix = Annotated[
    str | None, typer.Option("--mix", metavar="NAME", help="The guests: small, mixed or large; default mixed, or those of --requests.")
]
Requests = Annotated[
    str | None,
    typer.Option(
        "--requests", metavar="FILE", help="Guests in order from a CSV file with columns vcpus, memory_mib or memory_gib, guest_cells."
    ),
]
Rates = Annotated[
    list[str] | None,
    typer.Option(
        "--rates",
        metavar="FILE",
        help="Book by the \\[overhead] of a pinfold.conf: rates, booking and, without cpu_overhead_set, shared_fraction. May be repeated. "
        "Default: pinfold's default rates.",
    ),
]
Policies = Annotated[str, typer.Option("--policy", metavar="LIST", help="The emulator policies to compare: of unset, share, isolate.")]
Pools = Annotated[
    str, typer.Option("--pool", metavar="LIST", help="The pCPUs of each host's overhead pool to try for share, such as 1,2,4.")
]


def simulate(
    hosts: Hosts = None,
    host_text: HostText = None,
    fleet: FleetFile = None,
    mix: Mix = None,
    requests: Requests = None,
    policy: Policies = "unset,share,isolate",
    pool: Pools = "1,2,4,8,16",
    reserve: Annotated[int, typer.Option("--reserve", metavar="N", min=0, help="The pCPUs of each host that are in no pool.")] = 2,
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="NAME", help="Which host takes a guest: least-loss, pack or spread.")
    ] = "least-loss",
    churn: Annotated[int, typer.Option("--churn", metavar="N", min=0, help="So many arrivals and departures once the fleet is full.")] = 0,
    load: Annotated[
        float | None,
        typer.Option(
            "--load",
            metavar="SHARE",
            min=0.01,
            max=1.0,
            help=f"During --churn, the vCPUs that run, as a share of those that fitted; default {_LOAD}.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same options and seed give the same answer.")] = 1,
    rates: Rates = None,
    as_json: opt.Json = False,
) -> None:
    """Fill a fleet of empty hosts with pinned guests until the first is refused, and until nothing fits; compare emulator policies.

    The scheduler of the service decides about each guest. unset and isolate need no overhead pool and get none; share is tried with each
    size of --pool, whose pCPUs the vCPUs do not get. Guests have one disk and one NIC. For stranded pCPUs it is shown what they lack.
    """
    from pinfold.cli.views.simulation import simulation_view
    from pinfold.core.encoding import plain
    from pinfold.scheduler.model import HostStrategy
    from pinfold.simulation.model import Plan
    from pinfold.simulation.run import simulate as run

    if load is not None and not churn:
        raise InvalidRequest("--load says how full the fleet is during --churn, which is not given; give both, or neither", key="--load")
    plan = Plan(
        fleet=_booking(_fleet(host_text, fleet, hosts, reserve), rates, quiet=as_json),
        mix=_mix(mix, requests),
        settings=_settings(policy, pool),
        strategy=opt.member_of(HostStrategy, strategy, "--strategy"),
        seed=seed,
        churn=churn,
        load=_LOAD if load is None else load,
    )
    with _progress(quiet=as_json) as notice:
        found = run(plan, notice)
    respond(plain(found), simulation_view(found), as_json=as_json, warnings=found.warnings)


def _fleet(texts: list[str] | None, file: str | None, hosts: int | None, reserve: int) -> SimulatedFleet:
    from pinfold.config.parse import read_text
    from pinfold.simulation.inputs import DEFAULT_HOST, fleet_of, host_of
    from pinfold.simulation.model import SimulatedFleet

    if file is None:
        topologies = tuple(host_of(text) for text in texts or (DEFAULT_HOST,))
        return SimulatedFleet(hosts=hosts or 100, topologies=topologies, reserve=reserve)
    if texts:
        raise InvalidRequest("--fleet and --host-text both describe hosts; one of them is allowed", key="--host-text")
    return fleet_of(read_text(file, "fleet file"), f"fleet file {file}", hosts, reserve)


def _booking(fleet: SimulatedFleet, files: list[str] | None, *, quiet: bool) -> SimulatedFleet:
    """The fleet with what the files say about overhead. Files that the command line does not name are not read."""
    from msgspec import structs

    from pinfold.cli.session import read_configuration
    from pinfold.core.host import Limits

    if not files:
        return fleet
    settings = read_configuration(files, None, only_looks=True, quiet=quiet, audits=True).settings
    known = settings.limits
    limits = Limits(
        reserved_memory_mib=0, rates=known.rates, booking=known.booking, locality=known.locality, shared_fraction=known.shared_fraction
    )
    return structs.replace(fleet, limits=limits, pool_is_shared=settings.pools.shared is not None and settings.pools.overhead is None)


def _mix(name: str | None, file: str | None) -> GuestMix:
    from pinfold.config.parse import read_text
    from pinfold.simulation.inputs import MIXES, requests_of

    if file is not None:
        if name is not None:
            raise InvalidRequest("--mix and --requests both describe guests; one of them is allowed", key="--mix")
        return requests_of(read_text(file, "requests file"), f"requests file {file}")
    return MIXES[opt.one_of(name or "mixed", list(MIXES), "--mix")]


def _settings(policies: str, pools: str) -> tuple[Setting, ...]:
    """unset and isolate without a pool, share with each."""
    from pinfold.core.request.model import EmulatorPolicy
    from pinfold.simulation.model import MAX_POOL, Setting

    wanted = [opt.member_of(EmulatorPolicy, name.strip(), "--policy") for name in policies.split(",")]
    sizes = []
    for text in pools.split(","):
        digits = text.strip()
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 6 and 1 <= int(digits) <= MAX_POOL):
            raise InvalidRequest(f"--pool has {text.strip()[:40]!r}, numbers of pCPUs from 1 to {MAX_POOL} are allowed", key="--pool")
        sizes.append(int(digits))
    found = [Setting(policy=one, pool_pcpus=size) for one in wanted for size in (sizes if one is EmulatorPolicy.SHARE else [0])]
    return tuple(dict.fromkeys(found))


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Notice | None]:
    """A bar for each setting, and one for its churn, on standard error; if that is no terminal, a line now and then, or None if `quiet`."""
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from pinfold.cli.screen import Screen

    target = Screen(stderr=True)
    if not target.is_terminal:
        yield None if quiet else lines_of_progress(time.monotonic)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=target, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def notice(part: str, done: int, of: int) -> None:
            if part not in tasks:
                tasks[part] = bars.add_task(part, total=of)
            bars.update(tasks[part], completed=done)

        yield notice


def lines_of_progress(clock: Callable[[], float]) -> Notice:
    """A notice that prints a line on standard error when the last one is some seconds old, such as `pinfold: isolate: 40 %`."""
    last = clock()

    def notice(part: str, done: int, of: int) -> None:
        nonlocal last
        if clock() - last >= _SECONDS_BETWEEN_LINES:
            last = clock()
            tell(f"{part}: {100 * done // max(of, 1)} %")

    return notice
