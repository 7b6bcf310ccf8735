"""Write a clouds.yaml entry for OpenStack clients. The accounts file decides who may call."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pinfold.accounting.embedded import EmbeddedPlacement
from pinfold.accounting.remote import Auth, RemotePlacement


def clouds_yaml(
    cloud: str, url: str, username: str, password: str, *, ca_file: str = "", placement: EmbeddedPlacement | RemotePlacement | None = None
) -> str:
    """The text of a clouds.yaml with one cloud for HTTP Basic, or without authentication if the username is ''.

    A remote `placement` has its own address and credentials, so it gets a second cloud, `CLOUD-placement`. Secrets are not written.
    Texts are written as JSON, which is valid YAML.

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
        network_endpoint_override: "http://127.0.0.1:8774/network"
        placement_endpoint_override: "http://127.0.0.1:8774/placement"
        compute_default_microversion: "2.96"
    """
    remote = placement if isinstance(placement, RemotePlacement) else None
    there = f"{url}/placement" if remote is None else remote.url
    lines = ["clouds:", f"  {_quoted(cloud)}:", f"    auth_type: {'http_basic' if username else 'none'}", "    auth:"]
    # osc-placement (4.9) uses only this endpoint; every other client has its own override.
    lines.append(f"      endpoint: {_quoted(there or f'{url}/compute/v2.1')}")
    if username:
        lines += [f"      username: {_quoted(username)}", f"      password: {_quoted(password)}"]
    lines += [
        '    identity_api_version: "3"',
        f"    identity_endpoint_override: {_quoted(f'{url}/identity/v3')}",
        f"    compute_endpoint_override: {_quoted(f'{url}/compute/v2.1')}",
        f"    image_endpoint_override: {_quoted(f'{url}/image')}",
        f"    network_endpoint_override: {_quoted(f'{url}/network')}",
        *([f"    placement_endpoint_override: {_quoted(there)}"] if there else []),
        '    compute_default_microversion: "2.96"',
    ]
    if ca_file:
        lines.append(f"    cacert: {_quoted(ca_file)}")
    if remote is not None:
        lines += [f"  {_quoted(f'{cloud}-placement')}:", *_of_placement(remote)]
    return "\n".join(lines) + "\n"


def _of_placement(remote: RemotePlacement) -> Iterator[str]:
    """The entry of a remote Placement: its address and authentication."""
    kinds = {Auth.NONE: "admin_token", Auth.TOKEN: "admin_token", Auth.BASIC: "http_basic", Auth.KEYSTONE: "password"}
    yield f"    auth_type: {kinds[remote.auth]}"
    yield "    auth:"
    if remote.auth is Auth.KEYSTONE:
        yield f"      auth_url: {_quoted(remote.auth_url)}"
    else:
        yield f"      endpoint: {_quoted(remote.url)}"
    if remote.auth is Auth.NONE:
        yield f"      token: {_quoted(remote.token)}"
    else:
        yield "      # Your own credentials for it go here."
    if remote.url:
        yield f"    placement_endpoint_override: {_quoted(remote.url)}"
    if remote.ca:
        yield f"    cacert: {_quoted(remote.ca)}"


def _quoted(text: str) -> str:
    return json.dumps(text)
