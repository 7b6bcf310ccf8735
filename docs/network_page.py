"""The reference page of the networks file, from the schema that reads it."""

from __future__ import annotations

from docs.markdown import code, table

from pinfold.config.networks import ALLOWED, DEFAULT_FILE, HELP
from pinfold.core.networks import MOST_NETWORKS, NetworkKind

_KINDS = {
    NetworkKind.BRIDGE: ("a Linux bridge", '`<interface type="bridge">`'),
    NetworkKind.OVS: (
        "a bridge of Open vSwitch",
        '`<interface type="bridge">` with `<virtualport type="openvswitch">`, whose id is the port\'s',
    ),
    NetworkKind.MACVTAP: ("a device of the host", '`<interface type="direct">` in mode `bridge`'),
    NetworkKind.LIBVIRT: ("a network that libvirt manages", '`<interface type="network">`'),
    NetworkKind.USER: ("nothing", '`<interface type="user">`: the guest reaches out through QEMU, nobody reaches it'),
}
_PAGE = """# Networks file

The networks file says which networks a host offers to servers. It is the file that [`[networks] file`](configuration.md#networks) names, or
`networks.toml` beside the first configuration file, which is `{default}` in most places. Without the file, the host offers none. The agent
reads it when it starts. [How to give servers a network](../how-to/networks.md) has examples.

It has one table `[networks.NAME]` for each network, at most {most}. A name has 1 to 63 letters, digits and `._-`. It begins with a letter
or digit, and is neither `none` nor `auto`. Networks of the same name on several hosts are one network of the fleet.

{keys}
## Kinds

{kinds}
Every interface is a virtio device with a MAC address that the service made and keeps with the port.
"""


def networks() -> str:
    """Every key of a network and every kind."""
    keys = table(("key", "allowed", "meaning"), [(code(key), ALLOWED[key], HELP[key]) for key in ALLOWED])
    kinds = table(("`kind`", "`source` is", "the domain has"), [(code(kind.value), *_KINDS[kind]) for kind in NetworkKind])
    return _PAGE.format(default=DEFAULT_FILE, most=MOST_NETWORKS, keys=keys, kinds=kinds)
