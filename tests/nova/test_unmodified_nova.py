"""An unmodified Nova from the package index, in an environment of its own, accounts overhead by what pinfold writes and prints.

It is slow: `bin/test --all`. What it found is kept for the fast tests: the schema in `tests/core/nova/test_provider_config.py`, the restart
of nova-compute in `tests/real/clients/nova_compute.py`.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.build.guests import HOST, POOLS
from tests.nova.test_policies import ANSWERS, guest, said

from pinfold.cli.app import run
from pinfold.cli.session import Parts
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Subject
from pinfold.core.host import OverheadRates
from pinfold.core.nova.flavors import NovaFlavor, changes
from pinfold.host import nova

HERE = Path(__file__).parent
NOVA = "nova==34.0.0"
ITS_TESTS_NEED = (
    *("libvirt-python", "oslotest", "testtools", "fixtures", "testscenarios", "python-subunit", "wsgi-intercept", "gabbi"),
    *("openstack-placement", "requests-mock", "ddt"),
)
MILLICPU, BOOKED = 500, 120

pytestmark = [pytest.mark.slow, pytest.mark.installs, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with Nova; `$PINFOLD_TEST_NOVA` names one that is there already."""
    if given := os.environ.get("PINFOLD_TEST_NOVA"):
        return Path(given)
    folder = tmp_path_factory.mktemp("nova") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    made = folder / "bin" / "python"
    command = [str(made), "-m", "pip", "install", "-q", "--disable-pip-version-check", NOVA, *ITS_TESTS_NEED]
    subprocess.run(command, check=True)
    packages = subprocess.run(
        [str(made), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True
    ).stdout.strip()
    Path(packages, "etc").symlink_to(folder / "etc")  # Nova's tests look for its api-paste.ini beside the package
    return made


@pytest.fixture(scope="module")
def found(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Nova did with the file of a node with one shared pCPU, and with guests of 120 millicpu."""
    folder = tmp_path_factory.mktemp("node")
    conf, config = folder / "nova.conf", folder / "provider_config"
    config.mkdir()
    conf.write_text("[compute]\ncpu_shared_set = 0\ncpu_dedicated_set = 1-11\n[overhead]\nguest_millicpu = 98\n")
    shape = HERE.parent / "hosts/memory-less-cell/capabilities.xml"
    written = ("nova", "provider-config", "--config", str(conf), "--capabilities", str(shape), "--output", str(config / "overhead.yaml"))
    assert run(written, Parts(open_driver=lambda _: pytest.fail("no hypervisor is asked"))) == 0
    specs = (("hw:cpu_policy", "dedicated"), ("hw:emulator_threads_policy", "share"))
    (change,) = changes([NovaFlavor(id="1", name="f", vcpus=1, extra_specs=specs)], OverheadRates(guest=98), 1)
    (config / "specs.json").write_text(json.dumps(dict(change.assigned)))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OS_", "PINFOLD", "PYTEST"))}
    command = [str(python), str(HERE / "account.py"), str(config), str(folder / "found.json")]
    done = subprocess.run(command, env=kept, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    result: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return result


def test_nova_loads_the_file_with_its_own_loader(found: dict[str, Any]) -> None:
    (entry,) = found["loaded"].values()
    assert list(found["loaded"]) == ["$COMPUTE_NODE"]
    assert entry["inventories"]["additional"][0]["CUSTOM_OVERHEAD_MILLICPU"]["total"] == MILLICPU
    assert entry["traits"]["additional"] == ["CUSTOM_OVERHEAD_POOL"]


def test_nova_compute_gives_placement_the_inventory_and_the_trait(found: dict[str, Any]) -> None:
    fields = {"total": MILLICPU, "reserved": 0, "min_unit": 1, "max_unit": MILLICPU, "step_size": 1, "allocation_ratio": 1.0}
    assert found["started"] == {"inventory": fields, "traits": ["CUSTOM_OVERHEAD_POOL"]}


def test_nova_keeps_the_allocation_of_a_healed_guest(found: dict[str, Any]) -> None:
    assert "CUSTOM_OVERHEAD_MILLICPU" not in found["before healing"]
    assert found["after healing"] == found["before healing"] | {"CUSTOM_OVERHEAD_MILLICPU": BOOKED}


def test_nova_moves_a_healed_guest_by_its_own_flavor_so_that_it_books_nothing_again(found: dict[str, Any]) -> None:
    assert found["after a migration"] == found["before healing"]


def test_a_resize_to_a_flavor_that_books_lets_the_guest_book_again(found: dict[str, Any]) -> None:
    assert found["after a resize"] == found["before healing"] | {"CUSTOM_OVERHEAD_MILLICPU": BOOKED}


def test_a_guest_of_a_flavor_that_books_goes_to_no_node_without_a_pool_until_it_is_resized(found: dict[str, Any]) -> None:
    assert found["booked before it moves"]["CUSTOM_OVERHEAD_MILLICPU"] == BOOKED
    assert found["refused without a pool"] == 400
    assert "CUSTOM_OVERHEAD_MILLICPU" not in found["after a resize to a flavor that books nothing"]
    assert found["moves after that to"] == "compute3"


def test_unified_limits_refuse_the_class_only_if_nova_conf_lists_it_and_it_has_no_limit(found: dict[str, Any]) -> None:
    assert (found["without a limit"], found["with the class in the list"]) == ("ACTIVE", 403)


def test_nova_finds_no_host_for_the_guest_that_is_one_too_many(found: dict[str, Any]) -> None:
    """Four guests of 120 millicpu fit into 500: the healed one, and three of the flavor. pCPUs and memory are left for more."""
    assert [guest["CUSTOM_OVERHEAD_MILLICPU"] for guest in found["booted"]] == [BOOKED] * 3
    assert found["refused"].startswith("No valid host was found")
    assert found["a guest that books nothing"] == "ACTIVE"


def test_nova_compute_does_not_start_without_the_file_while_guests_book(found: dict[str, Any]) -> None:
    assert "Inventory for 'CUSTOM_OVERHEAD_MILLICPU'" in found["removed in use"]
    assert "in use" in found["removed in use"]


def test_without_bookings_nova_takes_the_inventory_away_and_leaves_the_trait(found: dict[str, Any]) -> None:
    assert found["removed"] == {"inventory": None, "traits": ["CUSTOM_OVERHEAD_POOL"]}
    assert found["the guest runs on"] == "ACTIVE"


def _answers(python: Path, *words: str) -> list[dict[str, Any]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OS_", "PINFOLD", "PYTEST"))}
    done = subprocess.run([str(python), str(HERE / "policies.py"), *words], env=kept, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_nova_answers_as_recorded_which_vcpus_it_pins(python: Path) -> None:
    assert _answers(python) == ANSWERS


def test_the_vcpus_that_nova_pins_for_any_flavor_and_image_are_read_as_pinned(python: Path) -> None:
    seed = secrets.randbelow(1 << 32)
    accepted = [one for one in _answers(python, "20000", str(seed)) if one["dedicated"] is not None]
    assert len(accepted) > 1000
    for one in accepted:
        found = nova.read(Subject(name="vm", pid=1001), guest(one), POOLS, HOST.online)
        assert found.dedicated == CpuSet(one["dedicated"]), f"seed {seed}: {said(one)}"
        assert found.findings == (), f"seed {seed}: {said(one)}"
