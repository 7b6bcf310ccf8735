"""Which steps are missing in a cloud's Keystone, and how they are written for the openstack client."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pinfold.core.errors import InvalidRequest
from pinfold.core.registration import (
    PATHS,
    Endpoint,
    MakeEndpoint,
    MakeRegion,
    Registered,
    Service,
    Wanted,
    command,
    existing,
    missing_steps,
)

URL = "https://pinfold.example:8774"
WANTED = Wanted(url=URL, types=("compute", "image"), region="west", keystone="http://keystone/v3")
FRESH = Registered(regions=frozenset(), services=(), endpoints=(), user=False, project=False, role=False, granted=False)
OURS = Registered(
    regions=frozenset({"west"}),
    services=(Service("c", "compute", "pinfold-compute"), Service("i", "image", "pinfold-image")),
    endpoints=tuple(
        Endpoint(f"{kind[0]}-{interface}", kind[0], interface, "west", URL + PATHS[kind])
        for kind in ("compute", "image")
        for interface in ("public", "internal")
    ),
    user=True,
    project=True,
    role=True,
    granted=True,
)


def lines(wanted: Wanted, found: Registered) -> list[str]:
    return [command(step) for step in missing_steps(wanted, found)]


def test_a_fresh_keystone_gets_everything_in_an_order_that_works() -> None:
    assert lines(WANTED, FRESH) == [
        "openstack region create west",
        "openstack service create --name pinfold-compute --description 'CPU placement for KVM hosts' compute",
        f"openstack endpoint create --region west pinfold-compute public {URL}/compute/v2.1",
        f"openstack endpoint create --region west pinfold-compute internal {URL}/compute/v2.1",
        "openstack service create --name pinfold-image --description 'CPU placement for KVM hosts' image",
        f"openstack endpoint create --region west pinfold-image public {URL}/image",
        f"openstack endpoint create --region west pinfold-image internal {URL}/image",
        "openstack project create --domain Default service",
        "openstack role create service",
        "openstack user create --domain Default --password-prompt pinfold",
        "openstack role add --user pinfold --user-domain Default --project service --project-domain Default service",
    ]
    assert existing(WANTED, FRESH) == ()


def test_what_is_registered_needs_no_step_and_is_named() -> None:
    assert lines(WANTED, OURS) == []
    assert existing(WANTED, OURS) == (
        "region west",
        "public endpoint of compute in west",
        "internal endpoint of compute in west",
        "public endpoint of image in west",
        "internal endpoint of image in west",
        "project service",
        "role service",
        "user pinfold",
        "role service of pinfold in service",
    )


def test_an_address_that_has_changed_is_set() -> None:
    moved = replace(WANTED, url="https://elsewhere")
    assert lines(moved, OURS)[0] == "openstack endpoint set --url https://elsewhere/compute/v2.1 c-public"
    assert len(lines(moved, OURS)) == 4


def test_a_nova_in_the_same_region_is_refused_by_name() -> None:
    nova = replace(
        FRESH, services=(Service("n", "compute", "nova"),), endpoints=(Endpoint("1", "n", "public", "west", "http://nova:8774/v2.1"),)
    )
    sentence = "^the region west has another compute service, nova at http://nova:8774/v2.1, and clients would use either of the two; name"
    with pytest.raises(InvalidRequest, match=sentence):
        missing_steps(WANTED, nova)


def test_a_nova_in_another_region_shares_its_service_and_keystone_is_named_in_the_new_region() -> None:
    cloud = replace(
        FRESH,
        regions=frozenset({"east"}),
        services=(Service("n", "compute", "nova"), Service("k", "identity", "keystone")),
        endpoints=(
            Endpoint("1", "n", "public", "east", "http://nova:8774/v2.1"),
            Endpoint("2", "k", "public", "east", "https://public-keystone/v3"),
        ),
    )
    steps = missing_steps(replace(WANTED, types=("compute",)), cloud)
    assert steps[:5] == (
        MakeRegion("west"),
        MakeEndpoint("k", "identity", "public", "west", "https://public-keystone/v3"),
        MakeEndpoint("k", "identity", "internal", "west", "http://keystone/v3"),
        MakeEndpoint("n", "compute", "public", "west", f"{URL}/compute/v2.1"),
        MakeEndpoint("n", "compute", "internal", "west", f"{URL}/compute/v2.1"),
    )


def test_an_endpoint_that_was_made_by_hand_under_another_name_counts() -> None:
    by_hand = replace(OURS, services=(Service("c", "compute", "mine"), Service("i", "image", "images")))
    assert lines(WANTED, by_hand) == []


def test_names_are_quoted_for_a_shell() -> None:
    assert command(MakeRegion("a b; rm -rf /")) == "openstack region create 'a b; rm -rf /'"
