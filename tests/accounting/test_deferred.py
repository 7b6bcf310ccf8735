"""An embedded Placement that is loaded with its first call."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.ports import free_port

from pinfold.accounting.deferred import DeferredPlacement
from pinfold.accounting.embedded import EmbeddedPlacement, unload
from pinfold.core.errors import InvalidRequest, Unavailable

pytestmark = pytest.mark.real_placement


@pytest.fixture(autouse=True)
def _unloaded() -> Iterator[None]:
    yield
    unload()


def test_the_first_call_loads_it_and_the_others_wait(tmp_path: Path, placement_file: Path) -> None:
    shutil.copy(placement_file, tmp_path / "placement.db")
    deferred = DeferredPlacement(EmbeddedPlacement(url=f"sqlite:///{tmp_path}/placement.db"))
    assert deferred.client.starting
    with ThreadPoolExecutor(4) as threads:
        versions = list(threads.map(lambda _: deferred.client.version(), range(4)))
    assert len(versions) == 4 and len(set(versions)) == 1
    assert not deferred.client.starting


def test_one_that_cannot_be_loaded_is_away_and_is_tried_again(tmp_path: Path, placement_file: Path) -> None:
    folder = tmp_path / "later"
    deferred = DeferredPlacement(EmbeddedPlacement(url=f"sqlite:///{folder}/placement.db"))
    for _ in range(2):
        with pytest.raises(Unavailable, match="Placement's database does not answer: FileNotFoundError"):
            deferred.client.version()
    assert deferred.client.away is not None and not deferred.client.starting
    folder.mkdir()
    shutil.copy(placement_file, folder / "placement.db")
    end = time.monotonic() + 120
    while deferred.client.away is not None:
        try:
            deferred.client.version()
        except Unavailable:
            assert time.monotonic() < end
            time.sleep(0.2)


def test_a_database_of_another_kind_is_a_wrong_setting_before_anything_is_loaded() -> None:
    with pytest.raises(InvalidRequest, match="'mysql' cannot be used"):
        DeferredPlacement(EmbeddedPlacement(url="mysql://host/placement"))


def test_a_postgresql_that_does_not_answer_is_known_before_anything_is_loaded() -> None:
    with pytest.raises(Unavailable, match="Placement's database does not answer"):
        DeferredPlacement(EmbeddedPlacement(url=f"postgresql+psycopg2://nobody@127.0.0.1:{free_port()}/placement"))
