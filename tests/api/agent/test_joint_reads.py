"""What is stored of many hosts is read in one statement for all requests that wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

import pytest

from pinfold.api.agent import joint_reads
from pinfold.api.agent.joint_reads import JointReads
from pinfold.core.errors import Unavailable
from pinfold.core.identity import HostId
from pinfold.store.presence import Standing


class Store:
    """What is stored, and which hosts were read together. Each read waits until it may go on."""

    def __init__(self) -> None:
        self.tokens = {HostId(f"c{number}"): f"token {number}" for number in range(1000)}
        self.reads: list[tuple[HostId, ...]] = []
        self.begun, self.go_on = threading.Semaphore(0), threading.Event()

    def read(self, ids: tuple[HostId, ...]) -> Mapping[HostId, Standing]:
        self.reads.append(ids)
        found = {host: Standing(token_hash=self.tokens[host], orders=1) for host in ids if host in self.tokens}
        self.begun.release()
        self.go_on.wait(60)
        if HostId("away") in ids:
            raise Unavailable("the database is away")
        return found

    async def until_begun(self) -> None:
        """Wait until one more read has begun."""
        assert await asyncio.to_thread(self.begun.acquire, timeout=60)


async def ask(reads: JointReads, *names: str) -> list[asyncio.Task[Standing | None]]:
    """Requests that ask, each of which has come to where it waits."""
    asked = [asyncio.create_task(reads.of(HostId(name))) for name in names]
    await asyncio.sleep(0)
    return asked


def test_all_that_ask_during_a_read_are_answered_by_the_next_one() -> None:
    store = Store()

    async def story() -> list[str | None]:
        reads = JointReads(store.read, "reads")
        first = await ask(reads, "c0")
        await store.until_begun()
        store.tokens[HostId("c0")] = "renewed"  # after the read that is under way, but before those who ask from now on
        others = await ask(reads, "c0", *(f"c{number}" for number in range(1, 300)), "c0", "no such host")
        store.go_on.set()
        return [None if found is None else found.token_hash for found in await asyncio.gather(*first, *others)]

    found = asyncio.run(story())
    assert found == ["token 0", "renewed", *(f"token {number}" for number in range(1, 300)), "renewed", None]
    assert [len(read) for read in store.reads] == [1, 301]


def test_one_read_is_of_a_bounded_number_of_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint_reads, "MOST", 100)
    store = Store()

    async def story() -> None:
        reads = JointReads(store.read, "reads")
        asked = await ask(reads, "c0")
        await store.until_begun()
        asked += await ask(reads, *(f"c{number}" for number in range(250)))
        store.go_on.set()
        await asyncio.gather(*asked)

    asyncio.run(story())
    assert [len(read) for read in store.reads] == [1, 100, 100, 50]


def test_who_gives_up_before_the_read_is_left_out_and_who_gives_up_during_it_harms_nobody() -> None:
    store = Store()

    async def story() -> Standing | None:
        reads = JointReads(store.read, "reads")
        (first,) = await ask(reads, "c0")
        await store.until_begun()
        early, late = await ask(reads, "c1", "c2")
        for one in (first, early):
            one.cancel()
        await asyncio.sleep(0)
        store.go_on.set()
        return await late

    assert asyncio.run(story()) == Standing(token_hash="token 2", orders=1)
    assert store.reads == [("c0",), ("c2",)]


def test_a_database_that_is_away_is_said_to_all_of_the_read_and_the_next_read_is_tried() -> None:
    store = Store()

    async def story() -> list[Standing | BaseException | None]:
        reads = JointReads(store.read, "reads")
        asked = await ask(reads, "c0")
        await store.until_begun()
        asked += await ask(reads, "c1", "away")
        store.go_on.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        return [*found, await reads.of(HostId("c3"))]

    first, *refused, last = asyncio.run(story())
    assert first == Standing(token_hash="token 0", orders=1) and last == Standing(token_hash="token 3", orders=1)
    assert [str(error) for error in refused] == ["the database is away"] * 2
