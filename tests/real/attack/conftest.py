"""The API that is attacked: one process for a module's tests, with short time-outs, so that what they end is seen to end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.real.attack.rig import PROXY, Target, allow_many_files, serving


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these run the real Placement."""
    for item in items:
        if "target" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_placement)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """An API with the bounds that it has by default."""
    allow_many_files()
    with serving(tmp_path_factory.mktemp("attack"), options=f"trusted_proxies = {PROXY}") as made:
        yield made
