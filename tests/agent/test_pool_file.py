"""The file in which an agent keeps the pools that its service orders."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinfold.agent.pool_file import PoolFile
from pinfold.config.find import drop_in, find_again
from pinfold.config.host import load
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.pools import PoolConfig, PoolOrder

ORDERS = [
    PoolOrder(shared=CpuSet.of(0, 1), dedicated=CpuSet.parse("2-7")),
    PoolOrder(shared=CpuSet.of(0), dedicated=CpuSet.parse("2-7"), overhead=CpuSet.of(1)),
    PoolOrder(dedicated=CpuSet.of(3)),
    PoolOrder(),
]


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_the_configuration_has_the_ordered_pools_and_after_that_its_own_again(tmp_path: Path, order: PoolOrder) -> None:
    own = tmp_path / "pinfold.conf"
    own.write_text("[compute]\ncpu_shared_set = 4\ncpu_dedicated_set = 5\ncpu_overhead_set = 6\n")
    path = drop_in((str(own),), "zz-last.conf")
    file = PoolFile(path)
    assert file.read() is None
    file.write(order)
    assert file.read() == order
    assert load(find_again((str(own),))).settings.pools == order.config
    assert path is not None and path.stat().st_mode & 0o777 == 0o644
    file.write(None)
    file.write(None)
    assert file.read() is None
    assert load(find_again((str(own),))).settings.pools == PoolConfig(shared=CpuSet.of(4), dedicated=CpuSet.of(5), overhead=CpuSet.of(6))


@pytest.mark.parametrize(
    "text", ["[compute]\ncpu_shared_set = 1\n", "cpu_shared_set = x\ncpu_dedicated_set =\ncpu_overhead_set =\n", "\xff"]
)
def test_a_file_that_somebody_else_wrote_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pools.conf"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidRequest):
        PoolFile(path).read()


def test_an_agent_without_a_configuration_file_keeps_no_pools() -> None:
    assert PoolFile(drop_in((), "zz-last.conf")).read() is None
    with pytest.raises(InvalidRequest, match="without a configuration file"):
        PoolFile(None).write(PoolOrder())
