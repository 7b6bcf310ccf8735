"""The real Placement with the inventory and the trait of a provider configuration file: it refuses the guest that is one too many."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
import yaml

from pinfold.accounting.embedded import Embedded
from pinfold.core.host import OverheadRates
from pinfold.core.nova.flavors import RESOURCE, NovaFlavor, changes
from pinfold.core.nova.provider_config import Identification, text

pytestmark = pytest.mark.real_placement

MILLICPU = 130
VERSION = {"OpenStack-API-Version": "placement 1.39", "X-Auth-Token": "admin"}
NODE, PLAIN_NODE = (str(uuid.uuid4()) for _ in range(2))


@pytest.fixture
def placement(embedded: Embedded) -> httpx.Client:
    """Two nodes with pCPUs and memory enough for ten guests. One has what the file says, as nova-compute puts it there."""
    client = httpx.Client(transport=httpx.WSGITransport(app=embedded.app), base_url="http://placement", headers=VERSION)
    fields = {"total": MILLICPU, "reserved": 0, "min_unit": 1, "max_unit": MILLICPU, "step_size": 1, "allocation_ratio": 1.0}
    (entry,) = yaml.safe_load(text(fields, Identification()))["providers"]
    (offered,) = entry["inventories"]["additional"]
    for name in (*offered, *entry["traits"]["additional"]):
        kind = "resource_classes" if name in offered else "traits"
        client.put(f"/{kind}/{name}").raise_for_status()
    for node, more, traits in ((NODE, offered, entry["traits"]["additional"]), (PLAIN_NODE, {}, [])):
        client.post("/resource_providers", json={"uuid": node, "name": node}).raise_for_status()
        usual = {"PCPU": {"total": 10, "max_unit": 10}, "MEMORY_MB": {"total": 1000, "max_unit": 1000}}
        body: dict[str, Any] = {"resource_provider_generation": 0, "inventories": usual | more}
        client.put(f"/resource_providers/{node}/inventories", json=body).raise_for_status()
        client.put(f"/resource_providers/{node}/traits", json={"resource_provider_generation": 1, "traits": traits}).raise_for_status()
    return client


def flavor_specs() -> dict[str, str]:
    """What `pinfold nova flavors` sets for a guest of one vCPU: 42 millicpu."""
    specs = (("hw:cpu_policy", "dedicated"), ("hw:emulator_threads_policy", "share"))
    (change,) = changes([NovaFlavor(id="1", name="pinned", vcpus=1, extra_specs=specs)], OverheadRates(), 1)
    return dict(change.assigned)


def candidates(client: httpx.Client, specs: dict[str, str]) -> set[str]:
    """The providers that Nova's scheduler is given for a flavor with these extra specs."""
    resources = ["PCPU:1", "MEMORY_MB:64"]
    resources += [f"{key.partition(':')[2]}:{value}" for key, value in specs.items() if key.startswith("resources:")]
    required = ",".join(key.partition(":")[2] for key, value in specs.items() if key.startswith("trait:") and value == "required")
    query = {"resources": ",".join(resources), **({"required": required} if required else {})}
    answer = client.get("/allocation_candidates", params=query).raise_for_status().json()
    return set(answer["provider_summaries"])


def boot(client: httpx.Client, millicpu: int) -> httpx.Response:
    """The allocation that Nova's scheduler makes for one more guest."""
    resources = {"PCPU": 1, "MEMORY_MB": 64, "CUSTOM_OVERHEAD_MILLICPU": millicpu}
    body = {
        "allocations": {NODE: {"resources": resources}},
        "project_id": "p",
        "user_id": "u",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }
    return client.put(f"/allocations/{uuid.uuid4()}", json=body)


def test_the_guest_that_is_one_too_many_is_refused_though_pcpus_and_memory_are_free(placement: httpx.Client) -> None:
    specs = flavor_specs()
    millicpu = int(specs[RESOURCE])
    fitting = MILLICPU // millicpu
    for _ in range(fitting):
        assert candidates(placement, specs) == {NODE}
        assert boot(placement, millicpu).status_code == 204
    assert candidates(placement, specs) == set()
    refused = boot(placement, millicpu)
    assert (refused.status_code, fitting) == (409, 3)
    assert "CUSTOM_OVERHEAD_MILLICPU" in refused.text
    assert candidates(placement, {}) == {NODE, PLAIN_NODE}


def test_a_node_without_the_file_is_no_candidate_for_a_flavor_that_books(placement: httpx.Client) -> None:
    assert PLAIN_NODE not in candidates(placement, flavor_specs())
