"""Slips that oslo.config does not see: unknown, misplaced and repeated keys."""

from __future__ import annotations

import pytest

from pinfold.config.check import misspelled, repeated
from pinfold.config.parse import Entry


def _entry(group: str, key: str) -> Entry:
    return Entry(file="f.conf", group=group, key=key, value="1")


@pytest.mark.parametrize(
    ("group", "key", "said"),
    [
        pytest.param("overhead", "bookin", "there is no such option, booking is meant", id="a letter is missing in our own group"),
        pytest.param("overhead", "zebra", "there is no such option", id="our own group has no such key at all"),
        pytest.param("compute", "cpu_dedicated_sets", "cpu_dedicated_set is meant", id="a letter too many in a group that Nova has too"),
        pytest.param("compute", "cpu_share_set", "cpu_shared_set is meant", id="a letter is missing there"),
        pytest.param("DEFAULT", "cpu_shared_set", "the option belongs into [compute]", id="a pool in the wrong group"),
        pytest.param("compute", "booking", "the option belongs into [overhead]", id="one of ours in the wrong group"),
        pytest.param("overheads", "booking", "there is no group [overheads], [overhead] is meant", id="a group with a letter too many"),
        pytest.param("computes", "cpu_shared_set", "[compute] is meant", id="a group of Nova's with a letter too many"),
    ],
)
def test_a_slip_is_named_with_the_right_key(group: str, key: str, said: str) -> None:
    (sentence,) = misspelled([_entry(group, key)])
    assert said in sentence
    assert f"[{group}] {key} in f.conf is ignored" in sentence


@pytest.mark.parametrize(
    ("group", "key"),
    [
        ("compute", "cpu_shared_set"),
        ("compute", "max_concurrent_disk_ops"),
        ("compute", "live_migration_wait_for_vif_plug"),
        ("DEFAULT", "compute_driver"),
        ("DEFAULT", "hostname"),
        ("DEFAULT", "reserved_host_cpus"),
        ("libvirt", "images_type"),
        ("libvirt", "hw_machine_type"),
        ("neutron", "url"),
        ("cinder", "os_region_name"),
        ("oslo_messaging_rabbit", "ssl"),
        ("database", "max_pool_size"),
    ],
)
def test_novas_own_keys_are_none_of_our_business(group: str, key: str) -> None:
    assert misspelled([_entry(group, key)]) == ()


def test_an_option_that_stands_twice_in_one_file_is_named() -> None:
    (sentence,) = repeated([_entry("compute", "cpu_shared_set"), _entry("compute", "cpu_shared_set")])
    assert sentence == "[compute] cpu_shared_set stands more than once in f.conf; the last line counts"
    assert repeated([_entry("DEFAULT", "reserved_huge_pages")] * 2) == (), "this one is meant to be repeated"
    assert repeated([_entry("DEFAULT", "transport_url")] * 2) == (), "Nova's"
