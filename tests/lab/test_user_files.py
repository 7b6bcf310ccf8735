"""What a lab gives to its user."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinfold.config.flavors import read_flavors
from pinfold.config.host import load
from pinfold.core.cpuset import CpuSet
from pinfold.core.hosttext import host
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Image
from pinfold.lab import user_files
from pinfold.lab.folder import LabFolder


@pytest.mark.parametrize(
    ("text", "shared", "dedicated"),
    [
        pytest.param("pack:2 core:8 pu:2", "0-1,16-17", "2-15,18-31", id="the first core of each cell is shared"),
        pytest.param("core:4 / core:1", "0", "1-4", id="a cell of one core gives all it has to guests"),
        pytest.param("core:2 / core:0", "0", "1", id="a cell without pCPUs has nothing to give"),
        pytest.param("core:1 pu:2", "0-1", "", id="one core alone is shared"),
    ],
)
def test_pools_suit_the_topology(text: str, shared: str, dedicated: str) -> None:
    found = user_files.pools(host(text))
    assert (str(found.shared), str(found.dedicated)) == (shared, dedicated)


def test_the_configuration_is_one_that_pinfold_reads(tmp_path: Path) -> None:
    folder = LabFolder(tmp_path)
    pools = user_files.LabPools(shared=CpuSet.of(0), dedicated=CpuSet.parse("1-3"))
    folder.configuration.write_text(user_files.configuration(folder, pools, about="A lab."))
    read = load([str(folder.configuration)])
    assert not read.warnings
    assert read.settings.uri == folder.uri


def test_every_flavor_is_a_request_that_pinfold_understands(tmp_path: Path) -> None:
    path = tmp_path / "flavors.toml"
    path.write_text(user_files.flavors_file())
    flavors = read_flavors(str(path))
    assert list(flavors) == ["float", "pinned", "share", "isolate", "cores", "mixed", "wide"]
    for flavor in flavors.values():
        assert compile_request(flavor, Image()).vcpus == flavor.vcpus
