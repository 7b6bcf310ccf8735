"""Ask a cloud by OpenStack's own command line, which knows every way to log in: flavors, and one provider of Placement.

The client is started with a list of words, never through a shell; its answers are JSON, parsed by schema and bounded in size.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from pinfold.core.encoding import json_reader
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.nova.accounting import FIELDS, PROVIDER_WORDS, Allocation, Provider
from pinfold.core.overhead import RESOURCE_CLASS

T = TypeVar("T")

FLAVOR_LIST: Final = ("flavor", "list", "--all", "--long")
_SECONDS: Final = 300
_AT_ONCE: Final = 4
"""How many clients run at the same time; each spends a second on its start."""
_MAX_BYTES: Final = 1 << 26


class _Named(Struct):
    uuid: str
    name: str


class _InventoryRow(Struct):
    resource_class: str
    total: int
    reserved: int
    min_unit: int
    max_unit: int
    step_size: int
    allocation_ratio: float


class _TraitRow(Struct):
    name: str


class _Consumed(Struct):
    resources: dict[str, int]


class _Shown(Struct):
    allocations: dict[str, _Consumed]


class _AllocationRow(Struct):
    resource_provider: str
    resources: dict[str, int]
    project_id: str
    user_id: str


_providers: Final = json_reader(list[_Named])
_inventories: Final = json_reader(list[_InventoryRow])
_traits: Final = json_reader(list[_TraitRow])
_consumers: Final = json_reader(_Shown)
_rows_of_consumer: Final = json_reader(list[_AllocationRow])


class OpenstackCommand:
    """OpenStack's command-line client with the access of one cloud: that of `cloud` in clouds.yaml, or of the environment without one."""

    def __init__(self, cloud: str | None = None) -> None:
        self.words: tuple[str, ...] = ("openstack", *(("--os-cloud", cloud) if cloud else ()))

    def flavors(self) -> str:
        """The cloud's flavors with their extra specs, as the client prints them."""
        return self._run(FLAVOR_LIST).decode("utf-8", "replace")

    def provider(self, names: Iterable[str]) -> Provider:
        """The provider with the first of these names that Placement has. Raises `InvalidRequest` if it has none of them."""
        tried = list(dict.fromkeys(names))
        for name in tried:
            for found in self._ask(("list", f"--name={name}"), _providers):
                return self._provider(found)
        said = " or ".join(repr(name) for name in tried)
        raise InvalidRequest(f"Placement has no resource provider {said}; --name takes the name that it has for this node", key="--name")

    def allocations(self, consumers: Iterable[str]) -> dict[str, Allocation]:
        """Everything that each consumer has allocated; consumers that have nothing are left out."""
        asked = list(consumers)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = list(pool.map(lambda one: self._ask(("allocation", "show", one), _rows_of_consumer), asked))
        return {consumer: _allocation(rows) for consumer, rows in zip(asked, answers, strict=True) if rows}

    def _provider(self, found: _Named) -> Provider:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            rows = pool.submit(self._ask, ("inventory", "list", found.uuid), _inventories)
            traits = pool.submit(self._ask, ("trait", "list", found.uuid), _traits)
            consumers = pool.submit(self._ask, ("show", "--allocations", found.uuid), _consumers)
        inventories = {row.resource_class: {name: float(getattr(row, name)) for name in FIELDS} for row in rows.result()}
        return Provider(
            uuid=found.uuid,
            name=found.name,
            inventory=inventories.get(RESOURCE_CLASS),
            traits=frozenset(trait.name for trait in traits.result()),
            consumers={consumer: consumed.resources for consumer, consumed in consumers.result().allocations.items()},
        )

    def _ask(self, words: tuple[str, ...], read: Callable[[bytes], T]) -> T:
        """The answer about resource providers, read by its schema."""
        asked = (*PROVIDER_WORDS, *words)
        try:
            return read(self._run(asked))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Unavailable(f"`{' '.join(('openstack', *asked))}` answers what pinfold does not understand: {error}") from error

    def _run(self, words: tuple[str, ...]) -> bytes:
        """What a command of the client prints as JSON. Raises `Unavailable` with its last line if it fails."""
        said = f"`{' '.join(('openstack', *words))}`"
        command = [*self.words, *words, "-f", "json"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
        except FileNotFoundError as error:
            raise Unavailable(
                "the `openstack` client is not installed; install python-openstackclient and osc-placement (pip, or the distribution's)"
            ) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{said} did not end: {error}") from error
        if done.returncode != 0:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise Unavailable(f"{said} failed: {lines[-1][:500] if lines else f'status {done.returncode}'}")
        if len(done.stdout) > _MAX_BYTES:
            raise Unavailable(f"{said} printed more than {_MAX_BYTES >> 20} MiB")
        return done.stdout


def _allocation(rows: list[_AllocationRow]) -> Allocation:
    return Allocation(providers={row.resource_provider: row.resources for row in rows}, project=rows[0].project_id, user=rows[0].user_id)
