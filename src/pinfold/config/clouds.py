"""A clouds.yaml entry that lets OpenStack clients in. Who may call is decided by the accounts file."""

from __future__ import annotations

import json


def clouds_yaml(cloud: str, url: str, username: str, password: str, *, ca_file: str = "") -> str:
    """The text of a clouds.yaml with one cloud, for HTTP Basic; with '' as the username, for a service without authentication.

    Texts are written as JSON, which YAML reads as they are.

    >>> print(clouds_yaml("pinfold", "http://127.0.0.1:8774", "", ""), end="")
    clouds:
      "pinfold":
        auth_type: none
        auth:
          endpoint: "http://127.0.0.1:8774/placement"
        identity_api_version: "3"
        identity_endpoint_override: "http://127.0.0.1:8774/identity/v3"
        compute_endpoint_override: "http://127.0.0.1:8774/compute/v2.1"
        image_endpoint_override: "http://127.0.0.1:8774/image"
        placement_endpoint_override: "http://127.0.0.1:8774/placement"
        compute_default_microversion: "2.96"
    """
    quoted = json.dumps
    lines = ["clouds:", f"  {quoted(cloud)}:", f"    auth_type: {'http_basic' if username else 'none'}", "    auth:"]
    # osc-placement asks nobody but this endpoint; every other client goes by its own override (osc-placement 4.9).
    lines.append(f"      endpoint: {quoted(f'{url}/placement')}")
    if username:
        lines += [f"      username: {quoted(username)}", f"      password: {quoted(password)}"]
    lines += [
        '    identity_api_version: "3"',
        f"    identity_endpoint_override: {quoted(f'{url}/identity/v3')}",
        f"    compute_endpoint_override: {quoted(f'{url}/compute/v2.1')}",
        f"    image_endpoint_override: {quoted(f'{url}/image')}",
        f"    placement_endpoint_override: {quoted(f'{url}/placement')}",
        '    compute_default_microversion: "2.96"',
    ]
    if ca_file:
        lines.append(f"    cacert: {quoted(ca_file)}")
    return "\n".join(lines) + "\n"
