"""From recorded questions to today's answers, both plain JSON: the one module of the replay that knows pinfold's types.

Where constructors, modules or written forms change, this module follows. Questions have the form that databases of the recorded code hold
(version 1 of stored texts), so what reads old databases reads them.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from msgspec.structs import replace
from tests.replay.recorded_documents import placement, refusal
from tests.replay.recording import Answers
from tests.replay.still import CONTEXT, PAGES, Still, open_still

from pinfold.agent.client import ServiceClient
from pinfold.agent.events import HostFacts
from pinfold.agent.reconcile import LastBoot
from pinfold.agent.report import guest_report, host_report, thread_report
from pinfold.agent.wire import PROTOCOL, Absence, GuestReport, Hello
from pinfold.cli.app import run
from pinfold.cli.session import Parts
from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import plain, reader
from pinfold.core.fit.answer import Fit, Strategy
from pinfold.core.fit.engine import fit
from pinfold.core.host import Claim, HostState, Ledger
from pinfold.core.hosttext import host as topology_of
from pinfold.core.pools import PoolConfig, build_pools
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor, GuestRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers.checkup import Check, Health
from pinfold.drivers.libvirt import definition
from pinfold.drivers.libvirt.capabilities import BuildContext, Platform
from pinfold.drivers.libvirt.definition import host_guest
from pinfold.drivers.port import Boot, GuestSpec, GuestState, Record
from pinfold.host.survey import survey
from pinfold.host.verify import verify
from pinfold.store import aggregates, claims, flavors, guests, hosts, tombstones
from pinfold.store.claim_rows import IntendedClaim
from pinfold.store.database import Database, upgrade
from pinfold.store.guest_filter import GuestFilter
from pinfold.store.records import ClaimState

_read_host = reader(HostState)
_read_request = reader(GuestRequest)
_read_hello = reader(Hello)
_read_absence = reader(Absence)
_read_guest_report = reader(GuestReport)

# -- fits and domains -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One recorded host with its strategy, read once for all the requests that are put to it."""

    state: HostState
    strategy: Strategy

    @classmethod
    def read(cls, plain: Any) -> Host:
        return cls(state=_read_host(plain["state"], "host"), strategy=Strategy(plain["strategy"]))

    def answer(self, request: Any) -> Any:
        """The fit, or the kind of the refusal and its reasons, as `--json` prints them; a crash where the engine crashes."""
        try:
            found = fit(_read_request(request, "request"), self.state, self.strategy)
        except Exception as error:  # a crash is an answer that differs, and the other requests are asked too
            return {"crash": repr(error)}
        return placement(found) if isinstance(found, Fit) else refusal(found, "")

    def domain(self, request: Any, number: int) -> str:
        """The domain XML of a request that fits; `number` varies what has nothing to do with the fit."""
        wanted = _read_request(request, "request")
        found = fit(wanted, self.state, self.strategy)
        assert isinstance(found, Fit), found
        small = min((page.size_kib for cell in self.state.topology.cells for page in cell.pages), default=4)
        make = BuildContext(
            platform=Platform(emulator="/usr/bin/qemu-system-x86_64", small_page_kib=small), realtime_priority=1 + number % 3
        )
        return definition.definition(_spec(wanted, found, number), make)


def accepted(answer: Any) -> bool:
    """Whether that answer of `Host.answer` is a fit."""
    return "vcpus" in answer


def host_plain(state: HostState, strategy: Strategy) -> Any:
    """A host in the form that `Host.read` reads."""
    return {"state": plain(state), "strategy": strategy.value}


def request_plain(request: GuestRequest) -> Any:
    """A request in the form that `Host.answer` reads, without what has its default."""
    whole, least = plain(request), plain(GuestRequest(vcpus=1, memory_mib=1))
    return {key: value for key, value in whole.items() if key in ("vcpus", "memory_mib") or value != least[key]}


def read_domain(xml: str) -> Any:
    """What today's code reads in a domain that the recorded code wrote."""
    return plain(host_guest(xml, state=GuestState.STOPPED, persistent=True, pid=None, pages=PAGES))


_BOOTS = (
    Boot(rom="/srv/images/idle.rom"),
    Boot(disk="/srv/disks/a & b.qcow2", disk_format="qcow2", serial_log="/srv/logs/a.log", iothreads=2),
    Boot(kernel="/srv/vmlinuz", initrd="/srv/initrd", cmdline="console=ttyS0"),
    Boot(),
)


def _spec(request: GuestRequest, found: Fit, number: int) -> GuestSpec:
    guest = f"00000000-0000-4000-9000-{number:012d}"
    record = Record(
        guest=guest,
        policy=request.emulator_policy,
        fit=found,
        revision=number,
        flavor=f"flavor {number % 7}" if number % 7 else "",
        owner="pinfold" if number % 2 else "00000000-0000-4000-a000-000000000001",
        request=request if number % 5 else None,
    )
    virt_type = ("", "kvm", "qemu")[number % 3]
    return GuestSpec(name=f"guest-{number}", request=request, record=record, boot=_BOOTS[number % 4], virt_type=virt_type)


def empty_host(shape: str, shared: str, dedicated: str) -> HostState:
    """A host of that shape with those pools and without guests. For the making of questions."""
    topology = topology_of(shape)
    pools, _ = build_pools(PoolConfig(shared=CpuSet.parse(shared), dedicated=CpuSet.parse(dedicated)), topology)
    return HostState(topology=topology, pools=pools, name="h1")


def flavored_domains(flavors: list[dict[str, Any]], state: HostState) -> list[str]:
    """The domains of guests of those flavors, each placed by the engine beside those before it. For the making of questions."""
    made: list[str] = []
    for number, described in enumerate(flavors, start=1):
        flavor = Flavor(
            name="f", vcpus=described["vcpus"], memory_mib=described["ram"], extra_specs=tuple(sorted(described["specs"].items()))
        )
        request = compile_request(flavor)
        found = fit(request, state)
        assert isinstance(found, Fit), (described, found)
        spec = _spec(request, found, number)
        made.append(definition.definition(spec, CONTEXT))
        state = replace(state, ledger=Ledger(claims=(*state.ledger.claims, Claim(guest=spec.id, fit=found))))
    return made


# -- commands -------------------------------------------------------------------------------------------------------------------------


def command(host: Any, argv: list[str]) -> Any:
    """What a command prints, on a hypervisor that holds still: its status, and its document or its text. Of times only the names stay."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = run(argv, Parts(open_driver=lambda settings: open_still(host)))
    text = out.getvalue()
    document = json.loads(text) if "--json" in argv and text else text
    if isinstance(document, dict) and "seconds" in document:
        document["seconds"] = list(document["seconds"])
    return {"status": status, "out": document, "err": err.getvalue()}


def doctor() -> Any:
    """The document of `doctor`: what it finds is this machine's, so the values are made up."""
    return {"checks": plain([Check.KVM.found(health, "as it is", what=f"the {health.value} one") for health in Health])}


# -- messages of agents ---------------------------------------------------------------------------------------------------------------


def agent_messages(host: Any, welcome: Any, orders: Any) -> Answers:
    """What an agent sends, byte for byte as it arrives at a listening socket, and what it reads in the service's answers."""
    heard: dict[str, Any] = {}
    with _listening(heard, welcome, orders | {"protocol": PROTOCOL}) as url:
        client = ServiceClient(url, "token")
        driver, settings = Still.read(host), HostSettings(host="h1")
        seen = survey(driver, settings)
        facts = HostFacts(host_boot="b", disk_gib=100, facts=(("booted", "1"), ("cpu", "x")))
        reported = host_report(seen, frozenset(), strategy=Strategy.SPREAD, any_cell=False, facts=facts)
        answered = {"welcome": client.hello(Hello(name="h1", report=reported)), "heartbeat": client.heartbeat()}
        told = {name: plain(value) for name, value in answered.items()}
        for number, guest in enumerate(seen.ours):
            threads = thread_report(verify(driver, settings, guest, online=seen.state.topology.online))
            booted = None if number % 3 == 0 else LastBoot(guest=guest.id, boot=number, host_boot="b", failure="no image" * (number % 2))
            client.report(guest.id, guest_report(guest, booted, threads))
            client.absent(guest.id, Absence(revision=number, failure="it went away" * (number % 2)))
        parsed = client.orders(after=-1, wait=0.0)
        told["orders"] = plain(parsed.orders)
        told["refused orders"] = [order.sentence() for order in parsed.refused]
        client.goodbye()
        client.close()
    return {**heard, **{f"read {name}": value for name, value in told.items()}}


def service_reads(case: str, body: Any) -> Any:
    """A message of an agent as the service understands it, written again; None for one without a body."""
    read: Any = _read_hello if case.endswith("/host") else _read_absence if case.endswith("/absence") else _read_guest_report
    return None if body is None else plain(read(body, case))


@contextmanager
def _listening(heard: dict[str, Any], welcome: Any, orders: Any) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            path = self.path.removesuffix(f"&protocol={PROTOCOL}")
            heard[f"{self.command} {path}"] = json.loads(self.rfile.read(length)) if length else None
            body = json.dumps(orders if "/orders" in self.path else welcome).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# -- databases ------------------------------------------------------------------------------------------------------------------------


def read_database(url: str) -> Answers:
    """Everything that the store reads in a database of an earlier pinfold, after today's migrations."""
    database = Database(url)
    upgrade(database)
    found: Answers = {}
    with database.read() as connection:
        for ledger in hosts.ledgers(connection):
            host, name = ledger.record.id, ledger.record.name
            found[f"host {name}"] = plain(ledger)
            found[f"claims of {name}"] = plain(claims.of_host(connection, host, *ClaimState))
            owned = claims.owners(connection, host)
            found[f"owners on {name}"] = {str(pcpu): [guest, role.value] for pcpu, (guest, role) in owned.items()}
            found[f"orders of {name}"] = [{"guest": plain(one), "claim": plain(held)} for one, held in guests.orders(connection, host)]
            found[f"tombstones of {name}"] = plain(tombstones.of_host(connection, host))
        for guest in guests.page(connection, GuestFilter(deleted=None)):
            found[f"guest {guest.name}"] = plain(guest)
        found["flavors"] = plain(flavors.all(connection))
        found["aggregates"] = plain(aggregates.all(connection))
    database.close()
    return found


def leave_claims_half_way(database: Database, made: dict[str, str]) -> None:
    """Claims as a crash leaves them: `made` are servers' ids by the state that the claim of each is left in. For the recording alone."""
    with database.write() as connection:
        for number, (state, guest) in enumerate(made.items()):
            held = claims.live(connection, guest)
            assert held is not None
            claims.unpin(connection, held.id)
            if state == "releasing":
                continue
            claims.forget(connection, held.id)
            claim = f"00000000-0000-4000-b000-{number:012d}"
            again = IntendedClaim(id=claim, guest=guest, host=held.host, amounts=held.amounts, fit=held.fit)
            claims.intend(connection, again, seconds=1e10)
            if state == "abandoned":
                claims.abandon(connection, claim, expired=False)


def lengthen_leases(database: Database) -> None:
    """Hosts that are up stay so for some hundred years: a recorded database is read at any time. For the recording alone."""
    with database.write() as connection:
        text = "UPDATE host SET lease_until = lease_until + 1e10 WHERE lease_until > heard"
        connection.exec_driver_sql(text)


def end_lease(database: Database, host: str) -> None:
    """The host counts as down from now on."""
    with database.write() as connection:
        hosts.expire(connection, host)
