"""`Placement`: the typed calls of OpenStack Placement that pinfold makes, over any transport.

The source is the Placement API reference, microversion 1.39. A conflict of generations raises `Conflict`, a lack of room `OverCapacity`,
and a Placement that is away, slow or broken `Unavailable`. Any other refusal is a bug in pinfold or a wrong setting.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar, overload
from urllib.parse import quote

import httpx

from pinfold.accounting import placement_responses as responses
from pinfold.accounting.placement_responses import CONSUMER_TYPE, Allocation, Provider
from pinfold.accounting.resources import Amounts, Inventories, Shares
from pinfold.core.errors import InvalidRequest, Unavailable

MICROVERSION: Final = "placement 1.39"
WRITERS: Final = 3
"""How many writes for one request a Placement is asked to take at the same time, unless it is told otherwise."""

_GLANCE_SECONDS: Final = 3.0
"""How long a caller waits who only asks whether Placement is there."""
_PATIENT_SECONDS: Final = 5.0
"""After a call that was not answered, so long all others are tried as before: it may have been one of many."""
_TRIES_AT_ONCE: Final = 4
"""So many calls at a time are tried of a Placement that is away for longer. The others fail at once."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The Placement project and user to which our consumers belong."""

    project: str = "pinfold"
    user: str = "pinfold"


DEFAULT_OWNER: Final = Owner()


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """Placement does not answer: since when, in seconds since the epoch by this machine's clock, and why the last call failed."""

    since: float
    why: str

    def sentence(self) -> str:
        """One sentence for an operator.

        >>> Away(since=0.0, why="Placement at http://p does not answer").sentence()
        'away since 1970-01-01T00:00:00Z: Placement at http://p does not answer'
        """
        return f"away since {datetime.fromtimestamp(int(self.since), tz=UTC):%Y-%m-%dT%H:%M:%SZ}: {self.why}"


class Placement:
    """The client. It can be shared between threads because its `httpx.Client` can.

    `http` has the base URL, the authentication and the timeouts; `accounting.remote` and `accounting.embedded` make one. If its base URL is
    not known yet, `locate` finds it before the first call, and raises `Unavailable` when it cannot. `starting` says whether the first call
    has to load Placement. `writers` is how many writes for one request it is asked to take at the same time.

    Of a Placement that has answered nothing for some seconds few calls at a time are tried, and the others raise `Unavailable` at once:
    those who wait for one that hangs must not take the threads of all others. An answer ends that.
    """

    def __init__(
        self,
        http: httpx.Client,
        owner: Owner = DEFAULT_OWNER,
        *,
        locate: Callable[[], str] | None = None,
        starting: Callable[[], bool] = lambda: False,
        writers: int = WRITERS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._owner = owner
        self._locate = locate
        self._starting = starting
        self.writers: Final = writers
        self._away: Away | None = None
        self._clock = clock
        self._missed_at = 0.0
        self._under_way = 0
        self._counting = threading.Lock()

    @property
    def away(self) -> Away | None:
        """Since when no call was answered, None if the last one was."""
        return self._away

    @property
    def starting(self) -> bool:
        """Whether Placement is not loaded yet, and no call has failed: the next call waits until it is."""
        return self._away is None and self._starting()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def version(self) -> str:
        """The newest microversion of this Placement, requested with a short timeout. Raises `Unavailable`."""
        return self._read("GET", "/", responses.newest_version, seconds=_GLANCE_SECONDS)

    # -- names ------------------------------------------------------------------------------------------------------------------------

    def ensure_resource_class(self, name: str) -> None:
        """Create the custom resource class if it is missing."""
        self._call("PUT", f"/resource_classes/{name}")

    def ensure_trait(self, name: str) -> None:
        """Create the custom trait if it is missing."""
        self._call("PUT", f"/traits/{name}")

    def known_traits(self, names: frozenset[str]) -> frozenset[str]:
        """Those of the traits that this Placement knows. `names` are at least one."""
        path = f"/traits?name=in:{','.join(sorted(names))}"
        return self._read("GET", path, lambda body: responses.names(body, "traits"))

    # -- providers --------------------------------------------------------------------------------------------------------------------

    def providers(self) -> tuple[Provider, ...]:
        """Every resource provider, ordered by uuid."""
        return tuple(sorted(self._read("GET", "/resource_providers", responses.providers), key=lambda provider: provider.uuid))

    def providers_with(self, trait: str) -> frozenset[str]:
        """The uuids of the providers that have the trait; none when Placement does not know it."""
        try:
            return frozenset(
                found.uuid for found in self._read("GET", f"/resource_providers?required={quote(trait, safe='')}", responses.providers)
            )
        except InvalidRequest as error:
            if "No such trait" in str(error):
                return frozenset()
            raise

    def providers_in(self, aggregates: frozenset[str]) -> frozenset[str]:
        """The uuids of the providers that are members of at least one of the aggregates."""
        if not aggregates:
            return frozenset()
        path = f"/resource_providers?member_of=in:{','.join(sorted(aggregates))}"
        return frozenset(found.uuid for found in self._read("GET", path, responses.providers))

    def provider(self, uuid: str) -> Provider | None:
        """One resource provider, or None."""
        return self._read("GET", f"/resource_providers/{uuid}", responses.provider, missing=True)

    def create_provider(self, uuid: str, name: str) -> Provider:
        """Create a root provider. Raises `Conflict` when the uuid or the name exists."""
        return self._read("POST", "/resource_providers", responses.provider, {"uuid": uuid, "name": name})

    def delete_provider(self, uuid: str) -> None:
        """Delete a provider without allocations; a missing one is no error. Raises `Conflict` while it has allocations."""
        self._call("DELETE", f"/resource_providers/{uuid}", missing=True)

    def inventories(self, uuid: str) -> tuple[int, Inventories]:
        """The provider's generation and inventories, ordered by resource class. Raises `InvalidRequest` when there is no such provider."""
        return self._read(
            "GET", f"/resource_providers/{uuid}/inventories", lambda body: (responses.generation(body), responses.inventories(body))
        )

    def put_inventories(self, uuid: str, generation: int, inventories: Inventories) -> int:
        """Replace the provider's inventories. Returns the new generation.

        Raises `Conflict` when the provider has changed since `generation`, or when a class in use would be removed.
        """
        body = {"resource_provider_generation": generation, "inventories": {name: asdict(values) for name, values in inventories}}
        return self._read("PUT", f"/resource_providers/{uuid}/inventories", responses.generation, body)

    def traits(self, uuid: str) -> tuple[int, frozenset[str]]:
        """The provider's generation and traits."""
        return self._read(
            "GET", f"/resource_providers/{uuid}/traits", lambda body: (responses.generation(body), responses.names(body, "traits"))
        )

    def put_traits(self, uuid: str, generation: int, traits: frozenset[str]) -> int:
        """Replace the provider's traits. Returns the new generation. Raises `Conflict` when the provider has changed since `generation`."""
        body = {"resource_provider_generation": generation, "traits": sorted(traits)}
        return self._read("PUT", f"/resource_providers/{uuid}/traits", responses.generation, body)

    def aggregates(self, uuid: str) -> tuple[int, frozenset[str]]:
        """The provider's generation and the uuids of its aggregates."""
        return self._read(
            "GET", f"/resource_providers/{uuid}/aggregates", lambda body: (responses.generation(body), responses.names(body, "aggregates"))
        )

    def put_aggregates(self, uuid: str, generation: int, aggregates: frozenset[str]) -> int:
        """Replace the provider's aggregates. Returns the new generation. Raises `Conflict` when the provider has changed since
        `generation`.
        """
        body = {"resource_provider_generation": generation, "aggregates": sorted(aggregates)}
        return self._read("PUT", f"/resource_providers/{uuid}/aggregates", responses.generation, body)

    def usages(self, uuid: str) -> Amounts:
        """What is used of the provider, ordered by resource class, including zeros."""
        return self._read("GET", f"/resource_providers/{uuid}/usages", lambda body: responses.amounts(body, "usages"))

    # -- allocations ------------------------------------------------------------------------------------------------------------------

    def provider_allocations(self, uuid: str) -> tuple[tuple[str, Amounts], ...]:
        """What each consumer, ours or not, consumes of the provider, ordered by consumer."""
        return self._read("GET", f"/resource_providers/{uuid}/allocations", responses.consumed)

    def allocation(self, consumer: str) -> Allocation | None:
        """Everything that the consumer consumes, with its generation; None when it consumes nothing."""
        return self._read("GET", f"/allocations/{consumer}", lambda body: responses.allocation(consumer, body))

    def allocate(self, consumer: str, shares: Shares, *, generation: int | None) -> None:
        """Set the consumer's allocation to these shares only. `generation` is None for a consumer that consumes nothing yet.

        Raises `Conflict` when the consumer has changed since `generation`, `OverCapacity` when a provider lacks room.
        """
        self._call("PUT", f"/allocations/{consumer}", self._allocations(shares, generation))

    def allocate_all(self, wanted: Mapping[str, Shares]) -> None:
        """Set the allocations of consumers that consume nothing yet, all or none. Raises as `allocate`."""
        self._call("POST", "/allocations", {consumer: self._allocations(shares, None) for consumer, shares in wanted.items()})

    def empty(self, allocation: Allocation) -> None:
        """Remove the consumer's allocation. Raises `Conflict` when it has changed since it was read."""
        self._call("PUT", f"/allocations/{allocation.consumer}", self._allocations((), allocation.generation))

    def _allocations(self, shares: Shares, generation: int | None) -> dict[str, Any]:
        return {
            "allocations": {provider: {"resources": dict(amounts)} for provider, amounts in shares},
            "project_id": self._owner.project,
            "user_id": self._owner.user,
            "consumer_generation": generation,
            "consumer_type": CONSUMER_TYPE,
        }

    def _call(self, method: str, path: str, body: object = None, *, missing: bool = False) -> None:
        """Make a call whose response has no content; `missing` allows 404."""
        self._answer(method, path, body, missing=missing, seconds=None)
        self._away = None

    @overload
    def _read(self, method: str, path: str, read: Callable[[Any], T], body: object = None, *, seconds: float | None = None) -> T: ...
    @overload
    def _read(self, method: str, path: str, read: Callable[[Any], T], *, missing: Literal[True]) -> T | None: ...
    def _read(
        self,
        method: str,
        path: str,
        read: Callable[[Any], T],
        body: object = None,
        *,
        missing: bool = False,
        seconds: float | None = None,
    ) -> T | None:
        """Parse the JSON of a response with `read`; None for a 404 that `missing` allows. Raises `Unavailable` for JSON of another
        shape.
        """
        answer = self._answer(method, path, body, missing=missing, seconds=seconds)
        try:
            found = None if answer is None else read(responses.json_of(answer))
        except ValueError as error:
            where = str(self._http.base_url).rstrip("/")
            raise self._missed(f"what is at {where} answers {method} {path} with {error}; it is no Placement") from error
        self._away = None
        return found

    def _answer(self, method: str, path: str, body: object, *, missing: bool, seconds: float | None) -> httpx.Response | None:
        """The response; None for a 404 that `missing` allows."""
        patience = self._http.timeout if seconds is None else httpx.Timeout(seconds)
        try:
            with self._admitted(always=seconds is not None):
                if self._locate is not None and not self._http.base_url.host:
                    self._http.base_url = self._locate()
                answer = self._http.request(method, path, json=body, headers={"OpenStack-API-Version": MICROVERSION}, timeout=patience)
        except Unavailable as error:  # the service that gives tokens or the address is away
            raise self._missed(str(error)) from error
        except (httpx.HTTPError, OSError) as error:
            where = str(self._http.base_url).rstrip("/")
            raise self._missed(f"Placement at {where} does not answer {method} {path} ({str(error) or type(error).__name__})") from error
        kind = answer.headers.get("content-type", "nothing")
        if answer.is_success and answer.content and "json" not in kind:
            raise self._missed(
                f"what is at {self._http.base_url} answers {method} {path} with {kind.partition(';')[0]}; it is no Placement"
            )
        if answer.is_success or (missing and answer.status_code == httpx.codes.NOT_FOUND):
            return answer if answer.is_success else None
        refusal = responses.refusal(f"{method} {path}", answer)
        if isinstance(refusal, Unavailable):
            raise self._missed(str(refusal))
        self._away = None
        raise refusal

    @contextmanager
    def _admitted(self, *, always: bool) -> Iterator[None]:
        """A call that is under way. Raises `Unavailable` if enough are that try a Placement which is away, unless it is to be tried
        `always`.
        """
        with self._counting:
            known = self._away
            if (
                known is not None
                and not always
                and self._under_way >= _TRIES_AT_ONCE
                and self._clock() - self._missed_at > _PATIENT_SECONDS
            ):
                raise Unavailable(known.why)
            self._under_way += 1
        try:
            yield
        finally:
            with self._counting:
                self._under_way -= 1

    def _missed(self, why: str) -> Unavailable:
        """The error for a call that was not answered. The first of several in a row sets the time since when."""
        known = self._away
        if known is None:
            self._missed_at = self._clock()
        self._away = Away(since=time.time() if known is None else known.since, why=why)
        return Unavailable(why)
