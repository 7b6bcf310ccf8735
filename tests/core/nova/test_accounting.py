"""What a Nova node, Placement and the flavors disagree on, and the plan that ends it."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from msgspec.structs import replace

from pinfold.core.host import OverheadRates
from pinfold.core.nova.accounting import Allocation, Disagreement, Guest, Node, Provider, disagreements, remains, unbooked
from pinfold.core.nova.flavors import NovaFlavor

INVENTORY = {"total": 100.0, "reserved": 0.0, "min_unit": 1.0, "max_unit": 100.0, "step_size": 1.0, "allocation_ratio": 1.0}
RP, OTHER = "aaaaaaaa-0000-4000-8000-000000000000", "99999999-0000-4000-8000-000000000000"
PLAIN = {"PCPU": 1, "MEMORY_MB": 64}
BOOKED = PLAIN | {"CUSTOM_OVERHEAD_MILLICPU": 42}
SPECS = {
    "hw:cpu_policy": "dedicated",
    "hw:emulator_threads_policy": "share",
    "resources:CUSTOM_OVERHEAD_MILLICPU": "42",
    "trait:CUSTOM_OVERHEAD_POOL": "required",
}
FLAVOR = NovaFlavor(id="1", name="pinned", vcpus=1, extra_specs=tuple(sorted(SPECS.items())))
PROVIDER = Provider(uuid=RP, name="c1", inventory=INVENTORY, traits=frozenset({"CUSTOM_OVERHEAD_POOL", "HW_CPU_X86_VMX"}), consumers={})


def node(*guests: str, **more: Any) -> Node:
    found = tuple(Guest(id=name, name=name, flavor="pinned", vcpus=1) for name in guests)
    return replace(Node(inventory=INVENTORY, guests=found, rates=OverheadRates()), **more)


def provider(**consumers: dict[str, int]) -> Provider:
    return replace(PROVIDER, consumers=consumers)


def check(node: Node, provider: Provider, *flavors: NovaFlavor, client: tuple[str, ...] = ("openstack",)) -> tuple[Disagreement, ...]:
    held = {
        guest.id: Allocation(providers={provider.uuid: provider.consumers[guest.id]}, project="p", user="u")
        for guest in unbooked(node, provider)
    }
    return disagreements(node, provider, flavors or (FLAVOR,), held, client)


def test_nothing_is_said_where_all_agree() -> None:
    assert check(node("a"), provider(a=BOOKED)) == ()


def test_a_guest_that_books_nothing_is_healed_with_all_that_it_has() -> None:
    held = {"a": Allocation(providers={RP: PLAIN, OTHER: {"VGPU": 1}}, project="p 1", user="u")}
    (found,) = disagreements(node("a"), provider(a=PLAIN), (FLAVOR,), held, ("openstack", "--os-cloud", "x"))
    assert found.subject == "guest a (a)"
    assert found.sentence == "has policy share and books nothing; it needs 42 millicpu"
    assert found.command == (
        "openstack --os-cloud x --os-placement-api-version 1.28 resource provider allocation set a "
        f"--allocation rp={OTHER},VGPU=1 --allocation rp={RP},CUSTOM_OVERHEAD_MILLICPU=42,MEMORY_MB=64,PCPU=1 "
        "--project-id 'p 1' --user-id u"
    )


def test_guests_are_healed_by_name_while_the_pool_has_room() -> None:
    found = check(node("c", "b", "a"), provider(a=PLAIN, b=PLAIN, c=PLAIN))
    assert [(one.subject, bool(one.command)) for one in found] == [("guest a (a)", True), ("guest b (b)", True), ("guest c (c)", False)]
    assert found[2].sentence.endswith("it needs 42 millicpu, the pool has 16 free; migrate it or enlarge the pool")


def test_what_others_book_takes_room_too() -> None:
    (found,) = check(node("a"), provider(a=PLAIN, other={"CUSTOM_OVERHEAD_MILLICPU": 59}))
    assert found.sentence.endswith("the pool has 41 free; migrate it or enlarge the pool")


def test_a_pool_that_only_reports_always_has_room() -> None:
    endless = INVENTORY | {"allocation_ratio": float(2**31 - 1), "max_unit": float(2**31 - 1)}
    found = check(node("a", inventory=endless), replace(provider(a=PLAIN, b={"CUSTOM_OVERHEAD_MILLICPU": 5000}), inventory=endless))
    assert [bool(one.command) for one in found] == [True]


def test_a_guest_needs_what_its_flavor_books_or_else_what_it_tells() -> None:
    two_disks = replace(FLAVOR, disks=2, extra_specs=tuple(sorted((SPECS | {"resources:CUSTOM_OVERHEAD_MILLICPU": "52"}).items())))
    assert "it needs 52 millicpu" in check(node("a"), provider(a=PLAIN), two_disks)[0].sentence
    assert "it needs 42 millicpu" in check(node("a"), provider(a=PLAIN), replace(FLAVOR, name="another"))[0].sentence


def test_a_guest_without_any_allocation_is_named_and_not_healed() -> None:
    (found,) = check(node("a"), provider())
    assert found.sentence == (
        "has no allocation of provider c1: look again if it is migrating, else Nova must make one before it can book overhead"
    )
    assert found.command == ""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"inventory": None}, "has no CUSTOM_OVERHEAD_MILLICPU, this node has 100 millicpu;"),
        ({"inventory": INVENTORY | {"total": 2000, "max_unit": 2000}}, "with total 2000 in place of 100, max_unit 2000 in place of 100;"),
        ({"traits": frozenset()}, "lacks the trait CUSTOM_OVERHEAD_POOL;"),
    ],
)
def test_a_provider_that_is_not_what_the_node_is_needs_the_file(change: dict[str, Any], sentence: str) -> None:
    (found,) = check(node("a"), replace(provider(a=BOOKED), **change))
    assert sentence in found.sentence
    assert found.sentence.endswith("; write the provider configuration file and restart nova-compute")


def test_no_guest_is_healed_before_the_inventory_is_there() -> None:
    *_, found = check(node("a"), replace(provider(a=PLAIN), inventory=None))
    assert found.sentence.endswith("which can be booked once Placement has the inventory")
    assert found.command == ""


def test_a_node_without_a_pool_wants_neither_inventory_nor_trait_nor_bookings() -> None:
    (found,) = check(node("a", inventory=None), provider(a=PLAIN))
    assert found.sentence.startswith("has CUSTOM_OVERHEAD_MILLICPU and CUSTOM_OVERHEAD_POOL, but this node has no overhead pool")
    assert check(node("a", inventory=None), replace(provider(a=PLAIN), inventory=None, traits=frozenset())) == ()


SHARE = (("hw:cpu_policy", "dedicated"), ("hw:emulator_threads_policy", "share"))


def test_a_flavor_that_is_wrong_comes_with_its_command() -> None:
    (found,) = check(node(), provider(), NovaFlavor(id="2", name="b", vcpus=1, extra_specs=SHARE))
    assert found.subject == "flavor b"
    assert found.command.startswith("openstack flavor set ")


def test_a_removal_goes_from_flavors_to_allocations_to_the_file() -> None:
    found = remains(provider(b=BOOKED, a=PLAIN), (FLAVOR,), ("openstack",))
    assert [one.subject for one in found] == ["flavor pinned", "consumer b", "provider c1", "provider c1"]
    assert found[1].command == (
        "openstack --os-placement-api-version 1.28 resource provider allocation unset b "
        f"--provider {RP} --resource-class CUSTOM_OVERHEAD_MILLICPU"
    )
    assert [one.command for one in found[2:]] == ["", ""]


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"HW_CPU_X86_VMX", "CUSTOM_A"}, ["trait", "set", "--trait", "CUSTOM_A", "--trait", "HW_CPU_X86_VMX", RP]),
        (set(), ["trait", "delete", RP]),
    ],
    ids=["others stay", "it is the only one"],
)
def test_the_trait_is_removed_once_the_file_is_gone(others: set[str], words: list[str]) -> None:
    (found,) = remains(replace(PROVIDER, inventory=None, traits=frozenset({"CUSTOM_OVERHEAD_POOL", *others})), (), ("openstack",))
    assert shlex.split(found.command)[5:] == words


def test_nothing_is_left_in_the_end() -> None:
    assert remains(replace(PROVIDER, inventory=None, traits=frozenset({"HW_CPU_X86_VMX"})), (), ("openstack",)) == ()
