"""What tests ask of the API as a client, whether it runs in this process or in one of its own."""

from __future__ import annotations

from typing import Any, Final

import httpx

from pinfold.api.image.catalog import image_id

COMPUTE: Final = "/compute/v2.1"
NEWEST: Final = "2.96"
PROBE: Final = image_id("probe")
"""The image that every fleet has."""
SHARE: Final = {"hw_cpu_policy": "dedicated", "hw_emulator_threads_policy": "share"}
ISOLATE: Final = {"hw_cpu_policy": "dedicated", "hw_emulator_threads_policy": "isolate"}
"""The extra specs of a flavor of one emulator policy, as `Client.flavor` takes them."""


def compute(version: str = NEWEST) -> dict[str, str]:
    """The header that asks for a microversion."""
    return {"OpenStack-API-Version": f"compute {version}"}


def server_body(name: str, flavor: str, **more: Any) -> dict[str, Any]:
    """The body of a create without networks, at any microversion from 2.37 on."""
    return {"name": name, "flavorRef": flavor, "imageRef": PROBE, "networks": "none", **more}


class Client:
    """The calls that all tests share. `http` calls as an admin."""

    http: httpx.Client

    def call(self, method: str, path: str, body: Any = None, *, version: str = NEWEST, status: int | None = None) -> httpx.Response:
        """One call, at that microversion; `status` is asserted where given."""
        answer = self.http.request(method, path, json=body, headers=compute(version))
        assert status is None or answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def flavor(self, name: str, *, vcpus: int = 2, ram: int = 64, disk: int = 0, **specs: str) -> str:
        """Make a flavor; its id is its name. `hw_cpu_policy="dedicated"` is the extra spec `hw:cpu_policy`."""
        body = {"flavor": {"name": name, "vcpus": vcpus, "ram": ram, "disk": disk, "id": name}}
        self.call("POST", f"{COMPUTE}/flavors", body, status=200)
        if specs:
            plain = {key.replace("_", ":", 1): value for key, value in specs.items()}
            self.call("POST", f"{COMPUTE}/flavors/{name}/os-extra_specs", {"extra_specs": plain}, status=200)
        return name

    def create(self, name: str, flavor: str, **more: Any) -> str:
        """Make a server; its id."""
        answer = self.call("POST", f"{COMPUTE}/servers", {"server": server_body(name, flavor, **more)}, status=202)
        return str(answer.json()["server"]["id"])

    def show(self, server: str, version: str = NEWEST) -> dict[str, Any]:
        """A server in full."""
        found: dict[str, Any] = self.call("GET", f"{COMPUTE}/servers/{server}", version=version, status=200).json()["server"]
        return found
