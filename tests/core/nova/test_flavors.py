"""Which flavors of a Nova cloud need which extra specs, and the commands for that."""

from __future__ import annotations

import json
import shlex

import pytest

from pinfold.core.errors import InvalidRequest
from pinfold.core.host import OverheadRates
from pinfold.core.nova.flavors import RESOURCE, TRAIT, NovaFlavor, changes, command, flavors_of, millicpu_of, removals
from pinfold.core.overhead import RESOURCE_CLASS
from pinfold.core.request.key_table import Disposition
from pinfold.core.request.keys import find

RATES = OverheadRates()
SHARE = (("hw:cpu_policy", "dedicated"), ("hw:emulator_threads_policy", "share"))


def flavor(name: str = "pinned", *more: tuple[str, str], share: bool = True, disks: int = 1, id_: str = "7") -> NovaFlavor:
    return NovaFlavor(id=id_, name=name, vcpus=4, disks=disks, extra_specs=tuple(sorted((*(SHARE if share else ()), *more))))


def printed(*flavors: NovaFlavor, rates: OverheadRates = RATES, nics: int = 1) -> list[str]:
    return [command(change, flavors) for change in changes(flavors, rates, nics)]


def row(**fields: object) -> dict[str, object]:
    plain = {
        "ID": "7",
        "Name": "pinned",
        "RAM": 512,
        "Disk": 1,
        "Ephemeral": 0,
        "VCPUs": 4,
        "Is Public": True,
        "Swap": 0,
        "RXTX Factor": 1.0,
    }
    return plain | {"Properties": dict(SHARE)} | fields


def test_a_flavor_with_policy_share_books_what_its_guests_need() -> None:
    assert printed(flavor()) == [
        "openstack flavor set --property resources:CUSTOM_OVERHEAD_MILLICPU=48 --property trait:CUSTOM_OVERHEAD_POOL=required pinned"
    ]


def test_the_amount_follows_rates_disks_and_interfaces() -> None:
    assert millicpu_of(flavor(disks=3), RATES, 2) == 20 + 4 * 2 + 3 * 10 + 2 * 10
    assert millicpu_of(flavor(), OverheadRates(guest=100, vcpu=1, disk=0, nic=0), 5) == 104
    queues = "hw:vif_multiqueue_enabled"
    assert millicpu_of(flavor("wide", (queues, "True")), RATES, 2) == 20 + 4 * 2 + 10 + 2 * 4 * 10
    assert millicpu_of(flavor("wide", (queues, "no")), RATES, 2) == millicpu_of(flavor(), RATES, 2)


def test_a_flavor_that_is_right_needs_no_command() -> None:
    assert printed(flavor("a", (RESOURCE, "48"), (TRAIT, "required")), flavor("b", share=False)) == []


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ([(RESOURCE, "7"), (TRAIT, "required")], "books 7 millicpu in place of 48"),
        ([(RESOURCE, "48")], "may go to hosts without an overhead pool"),
        ([(RESOURCE, "48"), (TRAIT, "forbidden")], "may go to hosts without an overhead pool"),
        ([(TRAIT, "required")], "books nothing"),
    ],
)
def test_a_wrong_flavor_is_corrected(more: list[tuple[str, str]], why: str) -> None:
    (change,) = changes([flavor("a", *more)], RATES, 1)
    assert (change.why, dict(change.assigned)) == (why, {RESOURCE: "48", TRAIT: "required"})


ALONE = ("hw:emulator_threads_policy", "share")
BOOKS = ((RESOURCE, "48"), (TRAIT, "required"))


@pytest.mark.parametrize(
    "more", [[], [("hw:cpu_policy", "shared")], [("resources:VCPU", "4")], [("resources:VCPU", "0")], [("resources:PCPU", "0")]], ids=str
)
def test_a_flavor_without_pinned_vcpus_books_nothing_for_share(more: list[tuple[str, str]]) -> None:
    assert printed(flavor("a", ALONE, *more, share=False)) == []


@pytest.mark.parametrize(
    "more", [("hw:cpu_policy", "mixed"), ("resources:PCPU", "4"), ("resources1:PCPU", "4"), ("hw:cpu_policy", "dedicated")], ids=str
)
def test_a_flavor_with_pinned_vcpus_books_for_share_however_it_says_so(more: tuple[str, str]) -> None:
    (change,) = changes([flavor("a", ALONE, more, share=False)], RATES, 1)
    assert dict(change.assigned) == dict(BOOKS)


def test_a_flavor_that_books_stops_if_its_vcpus_float_and_is_left_alone_if_images_may_pin_them() -> None:
    (change,) = changes([flavor("a", ALONE, ("hw:cpu_policy", "shared"), *BOOKS, share=False)], RATES, 1)
    assert (change.why, change.removed) == ("books 48 millicpu and has no pinned vCPUs", (RESOURCE, TRAIT))
    assert printed(flavor("a", ALONE, *BOOKS, share=False)) == []


def test_a_flavor_that_lost_the_policy_stops_booking() -> None:
    assert printed(flavor("a", (RESOURCE, "48"), (TRAIT, "required"), share=False)) == [
        "openstack flavor unset --property resources:CUSTOM_OVERHEAD_MILLICPU --property trait:CUSTOM_OVERHEAD_POOL a"
    ]


def test_a_removal_names_only_keys_that_are_there_because_the_client_fails_on_others() -> None:
    given = [flavor("a"), flavor("b", (RESOURCE, "48")), flavor("c", (RESOURCE, "48"), (TRAIT, "required"), id_="c")]
    assert [command(change, given, ("openstack", "--os-cloud", "x y")) for change in removals(given)] == [
        "openstack --os-cloud 'x y' flavor unset --property resources:CUSTOM_OVERHEAD_MILLICPU b",
        "openstack --os-cloud 'x y' flavor unset --property resources:CUSTOM_OVERHEAD_MILLICPU --property trait:CUSTOM_OVERHEAD_POOL c",
    ]


@pytest.mark.parametrize(
    ("name", "id_", "said"),
    [
        ("$(reboot) `x` 'y'", "7", "$(reboot) `x` 'y'"),
        ("a; rm -rf /", "7", "a; rm -rf /"),
        ("--help", "7", "7"),
        ("a\nopenstack flavor delete b", "7", "7"),
        ("other", "7", "7"),
    ],
)
def test_a_hostile_name_stays_one_word_and_no_option(name: str, id_: str, said: str) -> None:
    others = (flavor(name, id_=id_), NovaFlavor(id="other", name="z", vcpus=1))
    (line,) = printed(*others)
    assert "\n" not in line
    assert shlex.split(line)[-1] == said


def test_an_id_that_looks_like_an_option_stands_behind_two_hyphens() -> None:
    assert shlex.split(printed(flavor("-a", id_="-x"))[0])[-2:] == ["--", "-x"]


def test_flavors_are_read_as_the_client_lists_them() -> None:
    rows = [
        row(),
        row(ID="8", Name="big", Ephemeral=10, Swap=512, Properties={}),
        row(ID="9", Name="old", Swap="", Properties="a='b', c='d'"),
    ]
    assert flavors_of(json.dumps(rows), "it") == (
        flavor(),
        NovaFlavor(id="8", name="big", vcpus=4, disks=3),
        NovaFlavor(id="9", name="old", vcpus=4, extra_specs=(("a", "b"), ("c", "d"))),
    )


def test_one_flavor_is_read_as_the_client_shows_it() -> None:
    shown = {"id": "7", "name": "pinned", "vcpus": 4, "OS-FLV-EXT-DATA:ephemeral": 0, "swap": 0, "properties": dict(SHARE)}
    assert flavors_of(json.dumps(shown), "it") == (flavor(),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is not JSON ("),
        ("[" * 100_000, "it is not JSON ("),
        ("[3]", "it, flavor 1 is no object; it must be what `openstack flavor list --all --long -f json` prints"),
        (json.dumps([row(ID="")]), "it, flavor 1 has no id; it must be what"),
        (
            json.dumps([{key: value for key, value in row().items() if key != "Properties"}]),
            "it, flavor 1, 'pinned', has no properties; list",
        ),
        (json.dumps([row(VCPUs="many")]), "it, flavor 1, 'pinned': the flavor's vcpus is 'many'; it must be a whole number"),
        (json.dumps([row(VCPUs=0)]), "it, flavor 1, 'pinned': the flavor's vcpus is 0; it must be at least 1"),
        (json.dumps([row(Properties=[])]), "it, flavor 1, 'pinned': the flavor's properties must be an object"),
        ('[{"ID": "1", "ID": "2"}]', "it: 'ID' stands twice in the flavor's JSON; it is allowed once"),
        (json.dumps([{}] * 10_001), "it has 10001 flavors; at most 10000 are allowed"),
    ],
)
def test_what_is_no_list_of_flavors_is_refused_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        flavors_of(text, "it")
    assert str(error.value).startswith(message), str(error.value)


def test_rates_of_nothing_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"the rates of \[overhead\] are all 0"):
        millicpu_of(flavor(), OverheadRates(guest=0, vcpu=0, disk=0, nic=0), 1)


def test_pinfolds_own_service_accepts_the_flavors_that_it_prints() -> None:
    assert f"resources:{RESOURCE_CLASS}" == RESOURCE
    key = find(RESOURCE)
    assert key is not None
    assert key.disposition is Disposition.ACCEPTED
