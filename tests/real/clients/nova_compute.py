"""Does with provider configuration files what nova-compute does when it starts: Placement gets their inventories and traits.

`python nova_compute.py FOLDER PLACEMENT_URL USER PASSWORD PROVIDER`. An inventory of an earlier file goes, a trait of one stays; that Nova
does so is shown on an unmodified one by `tests/nova/test_unmodified_nova.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import httpx
import yaml


def restart(folder: Path, client: httpx.Client, provider: str) -> None:
    """Read every file of the folder and bring the provider up to date."""
    inventories: dict[str, Any] = {}
    traits: set[str] = set()
    for file in sorted(folder.glob("*.yaml")):
        for entry in yaml.safe_load(file.read_text())["providers"]:
            for additional in entry["inventories"]["additional"]:
                inventories |= additional
            traits |= set(entry["traits"]["additional"])
    for name in inventories:
        client.put(f"/resource_classes/{name}").raise_for_status()
    for name in traits:
        client.put(f"/traits/{name}").raise_for_status()
    path = f"/resource_providers/{provider}"
    found = client.get(f"{path}/inventories").raise_for_status().json()
    kept = {name: values for name, values in found["inventories"].items() if not name.startswith("CUSTOM_")}
    body = {"resource_provider_generation": found["resource_provider_generation"], "inventories": kept | inventories}
    generation = client.put(f"{path}/inventories", json=body).raise_for_status().json()["resource_provider_generation"]
    known = set(client.get(f"{path}/traits").raise_for_status().json()["traits"])
    client.put(f"{path}/traits", json={"resource_provider_generation": generation, "traits": sorted(known | traits)}).raise_for_status()


if __name__ == "__main__":
    place, url, user, password, uuid = sys.argv[1:]
    headers = {"OpenStack-API-Version": "placement 1.39"}
    with httpx.Client(base_url=url, auth=(user, password), headers=headers, timeout=120) as http:
        restart(Path(place), http, uuid)
