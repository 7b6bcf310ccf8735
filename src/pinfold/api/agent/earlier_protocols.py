"""Orders in the forms of protocols 1 and 2, for agents that were not upgraded yet. Pure.

In both, an order has the parts of its claim side by side. An agent of protocol 1 refuses every field that it does not know, and undefines a
guest whose record has another revision than its order. So it gets only the fields of its time, and the revision at which the claim was
held, which no amendment changes.

Neither knows domains that it did not make. It would start or remove them, so it gets no orders for them: it counts their guests as
foreign, and leaves them alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from msgspec.structs import replace

from pinfold.agent.wire import Orders
from pinfold.core.adoption import Takeover
from pinfold.core.encoding import plain
from pinfold.store.records import Tombstone

_Form: TypeAlias = Mapping[str, "_Form"] | None


def _form(*keys: str, **nested: _Form) -> _Form:
    return {**dict.fromkeys(keys), **nested}


_REASON: Final = _form("code", "kind", "cell", "needed", "available", "detail")
_FIT_CELL: Final = _form("guest_cell", "host_cell", "pins", "float_vcpus", "float_set", "memory_mib", "page_kib")
_FIT: Final = _form(
    *("vcpus", "memory_mib", "disk_gib", "float_vcpus", "float_set", "realtime", "emulator_placement", "emulator", "emulator_pcpu"),
    *("idle_siblings", "overhead_millicpu"),
    cells=_FIT_CELL,
    warnings=_REASON,
)
_REQUEST: Final = _form(
    *("vcpus", "memory_mib", "disk_gib", "cpu_policy", "thread_policy", "emulator_policy", "realtime", "explicit_page", "locked_memory"),
    *("traits_required", "traits_forbidden", "disks", "nics", "not_acted_upon"),
    cells=_form("id", "vcpus", "dedicated", "memory_mib"),
    page=_form("kind", "size_kib"),
    cpu_topology=_form("sockets", "cores", "threads"),
)
_ORDER: Final = _form(
    *("guest", "name", "claim", "revision", "desired", "boot", "flavor", "image", "booted", "hard"), request=_REQUEST, fit=_FIT
)
_WARNINGS: Final = ("overhead-booked",)
"""The codes of the warnings that an agent of protocol 1 knows."""


def orders_2(orders: Orders) -> dict[str, Any]:
    """The answer of `GET /agent/v1/orders` for an agent of protocol 2."""
    known = tuple(order for order in orders.orders if order.takeover is Takeover.NONE)
    told: dict[str, Any] = plain(replace(orders, orders=known))
    return told | {"orders": [_flat(order) for order in told["orders"]]}


def orders_1(orders: Orders) -> dict[str, Any]:
    """The answer of `GET /agent/v1/orders` for an agent of protocol 1."""
    return {
        "count": orders.count,
        "orders": [_order_1(order) for order in orders_2(orders)["orders"]],
        "tombstones": [{"guest": stone.guest, "revision": stone.revision} for stone in _last(orders.tombstones)],
    }


def _flat(told: Any) -> Any:
    claim = told["claim"]
    return told | {"claim": claim["id"], **{part: claim[part] for part in ("revision", "held", "fit")}}


def _order_1(told: Any) -> Any:
    order = _kept(told, _ORDER)
    warnings = [warning for warning in order["fit"].get("warnings", ()) if warning["code"] in _WARNINGS]
    return order | {"revision": told["held"], "fit": order["fit"] | {"warnings": warnings}}


def _last(stones: tuple[Tombstone, ...]) -> tuple[Tombstone, ...]:
    """One tombstone for each guest, that of its latest claim."""
    latest = {stone.guest: stone for stone in sorted(stones, key=lambda stone: stone.revision)}
    return tuple(latest[guest] for guest in sorted(latest))


def _kept(value: Any, form: _Form) -> Any:
    """The parts of a JSON value that the form names."""
    if form is None or value is None:
        return value
    if isinstance(value, list):
        return [_kept(item, form) for item in value]
    return {key: _kept(item, form[key]) for key, item in value.items() if key in form}
