"""The agent's memory in its file."""

import stat
from pathlib import Path

import pytest

from pinfold.agent.memory import read_memory, write_memory
from pinfold.agent.reconcile import MOST_TOMBSTONES, LastBoot, Memory, remember_absence
from pinfold.core.errors import InvalidRequest
from pinfold.store.records import Tombstone

GUEST = "00000000-0000-4000-8000-000000000001"
REMEMBERED = Memory(booted=(LastBoot(guest="a", boot=2, host_boot="b"),), tombstones=(Tombstone(guest=GUEST, revision=7),))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state" / "agent.memory"
    assert read_memory(path) == Memory()
    write_memory(path, REMEMBERED)
    assert read_memory(path) == REMEMBERED
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["agent.memory"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "agent.memory"
    path.write_text("half of")
    with pytest.raises(InvalidRequest, match=str(path)):
        read_memory(path)


def test_of_many_tombstones_those_of_the_newest_claims_are_kept() -> None:
    memory = Memory()
    for revision in range(MOST_TOMBSTONES + 5):
        memory = remember_absence(memory, Tombstone(guest=f"{revision:08}", revision=revision))
    assert len(memory.tombstones) == MOST_TOMBSTONES
    assert [stone.revision for stone in memory.tombstones] == list(range(5, MOST_TOMBSTONES + 5))
