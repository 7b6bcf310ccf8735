"""What a libvirt URI says without a connection: whether it is local, and where its daemon keeps run-time files. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

from pinfold.core.errors import InvalidRequest

_SYSTEM: Final = "/run/libvirt"
SYSTEM_STATE_DIR: Final = f"{_SYSTEM}/qemu"
"""The `state_dir` of the system's libvirt."""
_CONFIG_DIR: Final = "/etc/libvirt/qemu"


class Address(Struct, frozen=True, kw_only=True):
    """`local`: the hypervisor's processes run on this host. `state_dir` holds NAME.pid and NAME.xml of running guests, '' if remote.

    `config_dir` holds NAME.xml of every persistent definition, as the daemon sees it; '' if it is not known.
    """

    uri: str
    local: bool
    state_dir: str = ""
    config_dir: str = ""


def address(uri: str, *, run_dir: str = "", session_dir: str = "") -> Address:
    """The address of a URI. `run_dir` overrides where libvirtd's `/run/libvirt` is; `session_dir` is $XDG_RUNTIME_DIR.

    A URI with a host name (any name), or with a transport other than a UNIX socket, is remote.
    Raises `InvalidRequest` for a text that is no libvirt URI.

    >>> address("qemu+unix:///system?socket=/tmp/lab/run/libvirt-sock").state_dir
    '/tmp/lab/run/qemu'
    >>> address("qemu+ssh://c07/system").local
    False
    """
    try:
        parts = urlsplit(uri)
        socket = parse_qs(parts.query).get("socket", [""])[0]
    except ValueError as error:
        raise InvalidRequest(f"libvirt URI {uri!r} cannot be read: {error}", key="uri") from error
    driver, _, transport = parts.scheme.partition("+")
    if not driver or not parts.path:
        raise InvalidRequest(f"libvirt URI {uri!r} is not one such as qemu:///system or qemu+ssh://host/system", key="uri")
    if driver != "qemu" or parts.netloc or transport not in ("", "unix"):
        return Address(uri=uri, local=False)
    base = run_dir or (socket.rpartition("/")[0] if socket else "")
    if not base and parts.path == "/session":
        return Address(uri=uri, local=True, state_dir=f"{session_dir}/libvirt/qemu/run" if session_dir else "")
    config = _CONFIG_DIR if parts.path == "/system" else ""
    return Address(uri=uri, local=True, state_dir=f"{base or _SYSTEM}/qemu", config_dir=config)
