"""The page of the client's commands names a test for each."""

from __future__ import annotations

from docs.openstack_page import commands


def test_every_command_of_the_page_is_typed_by_a_test_with_the_real_client() -> None:
    assert [command for command, names in commands().items() if not names] == []
