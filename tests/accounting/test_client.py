"""The client against the real Placement, in this process."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import Embedded, EmbeddedPlacement, load
from pinfold.accounting.placement_responses import CONSUMER_TYPE, OverCapacity
from pinfold.accounting.remote import Auth, RemotePlacement, connect
from pinfold.accounting.resources import Inventory
from pinfold.core.errors import Conflict, InvalidRequest, InvariantViolation, Unavailable

pytestmark = pytest.mark.real_placement

ROOM = (("PCPU", Inventory(total=4, max_unit=4)),)


@pytest.fixture
def placement(embedded: Embedded) -> Placement:
    return embedded.client


def _provider(placement: Placement) -> str:
    found = placement.create_provider(str(uuid.uuid4()), f"host-{uuid.uuid4()}")
    placement.put_inventories(found.uuid, found.generation, ROOM)
    return found.uuid


def test_it_speaks_the_microversion_that_we_need(placement: Placement) -> None:
    assert tuple(map(int, placement.version().split("."))) >= (1, 39)


def test_a_provider_is_made_once_and_found_again(placement: Placement) -> None:
    name = str(uuid.uuid4())
    made = placement.create_provider(name, "c01")
    assert placement.provider(name) == made
    assert placement.providers() == (made,)
    assert placement.provider(str(uuid.uuid4())) is None
    with pytest.raises(Conflict):
        placement.create_provider(str(uuid.uuid4()), "c01")
    placement.delete_provider(name)
    placement.delete_provider(name)
    assert placement.provider(name) is None


def test_inventories_come_back_as_they_were_put(placement: Placement) -> None:
    placement.ensure_resource_class("CUSTOM_OVERHEAD_MILLICPU")
    provider = placement.create_provider(str(uuid.uuid4()), "c01")
    offered = (
        ("CUSTOM_OVERHEAD_MILLICPU", Inventory(total=500, allocation_ratio=float(2**31 - 1), max_unit=2**31 - 1)),
        ("VCPU", Inventory(total=3, allocation_ratio=10 / 3, max_unit=10)),
    )
    generation = placement.put_inventories(provider.uuid, provider.generation, offered)
    assert placement.inventories(provider.uuid) == (generation, offered)
    with pytest.raises(Conflict):
        placement.put_inventories(provider.uuid, provider.generation, offered)


def test_traits_and_aggregates_come_back_as_they_were_put(placement: Placement) -> None:
    placement.ensure_trait("CUSTOM_OVERHEAD_POOL")
    provider = placement.create_provider(str(uuid.uuid4()), "c01")
    generation = placement.put_traits(provider.uuid, provider.generation, frozenset({"CUSTOM_OVERHEAD_POOL", "HW_CPU_HYPERTHREADING"}))
    assert placement.traits(provider.uuid) == (generation, frozenset({"CUSTOM_OVERHEAD_POOL", "HW_CPU_HYPERTHREADING"}))
    aggregate = str(uuid.uuid4())
    generation = placement.put_aggregates(provider.uuid, generation, frozenset({aggregate}))
    assert placement.aggregates(provider.uuid) == (generation, frozenset({aggregate}))
    with pytest.raises(Conflict):
        placement.put_traits(provider.uuid, provider.generation, frozenset())
    assert placement.providers_with("CUSTOM_OVERHEAD_POOL") == {provider.uuid}
    assert placement.providers_with("CUSTOM_NOBODY_MADE_IT") == frozenset()
    assert placement.providers_in(frozenset({aggregate, str(uuid.uuid4())})) == {provider.uuid}
    assert placement.providers_in(frozenset()) == frozenset()


def test_an_allocation_is_made_read_replaced_and_emptied(placement: Placement) -> None:
    first, second, guest = _provider(placement), _provider(placement), str(uuid.uuid4())
    assert placement.allocation(guest) is None
    placement.allocate(guest, ((first, (("PCPU", 3),)),), generation=None)
    found = placement.allocation(guest)
    assert found is not None
    assert found.providers == ((first, (("PCPU", 3),)),)
    assert found.consumer_type == CONSUMER_TYPE
    assert found.ours
    assert placement.provider_allocations(first) == ((guest, (("PCPU", 3),)),)
    assert placement.usages(first) == (("PCPU", 3),)
    placement.allocate(guest, ((second, (("PCPU", 2),)),), generation=found.generation)
    assert placement.usages(first) == (("PCPU", 0),)
    with pytest.raises(Conflict):
        placement.empty(found)
    found = placement.allocation(guest)
    assert found is not None
    placement.empty(found)
    assert placement.allocation(guest) is None
    assert placement.usages(second) == (("PCPU", 0),)


def test_a_second_first_allocation_is_a_conflict(placement: Placement) -> None:
    provider, guest = _provider(placement), str(uuid.uuid4())
    placement.allocate(guest, ((provider, (("PCPU", 1),)),), generation=None)
    with pytest.raises(Conflict):
        placement.allocate(guest, ((provider, (("PCPU", 1),)),), generation=None)


def test_a_lack_of_room_is_told_from_a_conflict(placement: Placement) -> None:
    provider = _provider(placement)
    placement.allocate(str(uuid.uuid4()), ((provider, (("PCPU", 3),)),), generation=None)
    with pytest.raises(OverCapacity, match="PCPU"):
        placement.allocate(str(uuid.uuid4()), ((provider, (("PCPU", 2),)),), generation=None)
    with pytest.raises(OverCapacity, match="violate inventory constraints"):
        placement.allocate(str(uuid.uuid4()), ((provider, (("PCPU", 5),)),), generation=None)


def test_a_class_that_is_not_offered_is_a_lack_of_room(placement: Placement) -> None:
    provider = _provider(placement)
    with pytest.raises(OverCapacity):
        placement.allocate(str(uuid.uuid4()), ((provider, (("VCPU", 1),)),), generation=None)


def test_a_provider_that_is_not_there_is_our_mistake(placement: Placement) -> None:
    with pytest.raises(InvalidRequest):
        placement.allocate(str(uuid.uuid4()), ((str(uuid.uuid4()), (("PCPU", 1),)),), generation=None)


def test_inventory_in_use_is_not_taken_away(placement: Placement) -> None:
    provider = _provider(placement)
    placement.allocate(str(uuid.uuid4()), ((provider, (("PCPU", 1),)),), generation=None)
    generation, _ = placement.inventories(provider)
    with pytest.raises(Conflict):
        placement.put_inventories(provider, generation, ())


def test_many_threads_write_on_sqlite_without_an_error(placement: Placement) -> None:
    provider = _provider(placement)
    outcomes: list[str] = []

    def run() -> None:
        for _ in range(3):
            try:
                placement.allocate(str(uuid.uuid4()), ((provider, (("PCPU", 1),)),), generation=None)
                outcomes.append("placed")
            except OverCapacity:
                outcomes.append("full")

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["full"] * 8 + ["placed"] * 4
    assert placement.usages(provider) == (("PCPU", 4),)


def test_one_process_has_one_placement(embedded: Embedded) -> None:
    with pytest.raises(InvariantViolation):
        load(EmbeddedPlacement(url="sqlite:////nowhere/else.db"))


def test_a_database_that_placement_cannot_use_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="psycopg2"):
        load(EmbeddedPlacement(url="postgresql+psycopg://host/db"))


def test_a_placement_that_is_away_is_unavailable() -> None:
    placement = connect(RemotePlacement(url="http://127.0.0.1:1/placement"))
    assert placement.away is None
    with pytest.raises(Unavailable, match=r"Placement at http://127.0.0.1:1/placement does not answer GET / \(.*refused\)"):
        placement.version()
    first = placement.away
    assert first is not None
    with pytest.raises(Unavailable):
        placement.providers()
    assert placement.away is not None
    assert (placement.away.since, "GET /resource_providers" in placement.away.why) == (first.since, True)


class _Slow(httpx.BaseTransport):
    """A Placement that answers nothing until `go` is set; then each call, also one that waits, gets this status."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = threading.Event()
        self.status = 503
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.asked += 1
        assert self.go.wait(60)
        return httpx.Response(self.status, json={"resource_providers": []})


def test_a_placement_that_hangs_keeps_few_callers_waiting() -> None:
    slow, seconds = _Slow(), [0.0]
    placement = Placement(httpx.Client(transport=slow, base_url="http://x"), clock=lambda: seconds[0])
    slow.go.set()
    with pytest.raises(Unavailable):
        placement.providers()
    slow.go.clear()
    with ThreadPoolExecutor(32) as pool:
        early = [pool.submit(placement.providers) for _ in range(6)]
        _until(lambda: slow.asked == 7)  # what was missed may have been one call of many
        seconds[0] = 5.1
        with pytest.raises(Unavailable, match="503"):
            placement.providers()
        glance = pool.submit(placement.version)
        _until(lambda: slow.asked == 8)  # who asks whether Placement is there is let through
        slow.go.set()
        assert [type(one.exception()) for one in early] == [Unavailable] * 6
        assert isinstance(glance.exception(), Unavailable)

        slow.go.clear()
        tried = [pool.submit(placement.providers) for _ in range(12)]
        _until(lambda: slow.asked == 12 and sum(one.done() for one in tried) == 8)
        slow.status = 200
        slow.go.set()
        assert [one.exception() is None for one in tried].count(True) == 4
        assert placement.away is None

        slow.go.clear()
        after = [pool.submit(placement.providers) for _ in range(12)]
        _until(lambda: slow.asked == 24)  # all are tried again
        slow.go.set()
        assert [one.result() for one in after] == [()] * 12


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_remote_placement_without_an_address_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="endpoint_override"):
        connect(RemotePlacement(url="placement.example", auth=Auth.TOKEN, token="t"))


@pytest.mark.parametrize(
    ("status", "error"), [(500, Unavailable), (503, Unavailable), (429, Unavailable), (401, Unavailable), (400, InvalidRequest)]
)
def test_what_a_broken_placement_answers_is_translated(status: int, error: type[Exception]) -> None:
    broken = httpx.MockTransport(lambda _: httpx.Response(status, text="oops"))
    placement = Placement(httpx.Client(transport=broken, base_url="http://x"))
    with pytest.raises(error, match=str(status)):
        placement.allocation(str(uuid.uuid4()))


def test_a_page_in_place_of_an_answer_is_no_placement() -> None:
    page = httpx.MockTransport(lambda _: httpx.Response(200, html="<h1>Welcome to nginx</h1>"))
    placement = Placement(httpx.Client(transport=page, base_url="http://x"))
    with pytest.raises(Unavailable, match="answers GET /resource_providers with text/html; it is no Placement"):
        placement.providers()
    assert placement.away is not None


class _Odd(BaseHTTPRequestHandler):
    """Answers every request with the same JSON."""

    said: str

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = self.said.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


READS = {
    "version": lambda placement: placement.version(),
    "providers": lambda placement: placement.providers(),
    "providers with a trait": lambda placement: placement.providers_with("T"),
    "providers in aggregates": lambda placement: placement.providers_in(frozenset({"a"})),
    "provider": lambda placement: placement.provider("p"),
    "create_provider": lambda placement: placement.create_provider("p", "c01"),
    "inventories": lambda placement: placement.inventories("p"),
    "put_inventories": lambda placement: placement.put_inventories("p", 1, ROOM),
    "traits": lambda placement: placement.traits("p"),
    "put_traits": lambda placement: placement.put_traits("p", 1, frozenset()),
    "aggregates": lambda placement: placement.aggregates("p"),
    "put_aggregates": lambda placement: placement.put_aggregates("p", 1, frozenset()),
    "usages": lambda placement: placement.usages("p"),
    "provider_allocations": lambda placement: placement.provider_allocations("p"),
    "allocation": lambda placement: placement.allocation("c"),
}
ODD = (
    "{}",
    "[]",
    "null",
    "{",
    """{"versions": [], "resource_providers": [1], "resource_provider_generation": 1, "inventories": {"VCPU": {"total": "4"}},
    "traits": "T", "aggregates": [2], "usages": {"VCPU": null}, "allocations": {"c": {"resources": {"VCPU": "1"}}}, "uuid": 1}""",
)


@pytest.fixture
def odd() -> Iterator[Placement]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Odd) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        placement = connect(RemotePlacement(url=f"http://127.0.0.1:{server.server_port}"))
        yield placement
        placement.close()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", READS)
def test_json_of_another_shape_is_no_placement(odd: Placement, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for said in ODD:
        if name.startswith("put_") and said == ODD[-1]:
            continue  # the response to a change only needs a generation
        monkeypatch.setattr(_Odd, "said", said, raising=False)
        with pytest.raises(Unavailable, match=r"^what is at http://127.0.0.1:\d+ answers (GET|PUT|POST) /\S* with .*; it is no Placement$"):
            READS[name](odd)
        assert odd.away is not None


def test_the_key_that_an_answer_lacks_is_named(odd: Placement, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Odd, "said", '{"resource_provider_generation": 3, "traits": null}', raising=False)
    with pytest.raises(
        Unavailable, match=r"answers GET /resource_providers/p/traits with JSON without the list 'traits'; it is no Placement"
    ):
        odd.traits("p")
    monkeypatch.setattr(_Odd, "said", '{"resource_provider_generation": 3, "traits": ["T"]}', raising=False)
    assert odd.traits("p") == (3, frozenset({"T"}))
    assert odd.away is None


def test_secrets_do_not_show() -> None:
    assert "hush" not in repr(RemotePlacement(url="", token="hush", password="hush"))
