"""Nova's actions on a server that pinfold does not have, each with a sentence that says why, and what to do instead."""

from __future__ import annotations

from typing import Final

from pinfold.api.compute.unsupported import Unsupported, unsupported

_NETWORKS: Final = "The addresses of servers are the operator's: change them in the guest."
_MOVES: Final = "pinfold moves no servers between hosts: delete the server, and create it with `--host` on the other one."
_SIZES: Final = "pinfold resizes no servers: delete the server, and create it with the other flavor."
_SHELVES: Final = "pinfold shelves no servers: stop the server, which keeps its disk and its pCPUs, or delete it to free them."
_RESCUES: Final = "pinfold has no rescue mode: stop the server, and open its disk on its host with `guestmount`."
_COPIES: Final = "pinfold makes no images from servers: build the image elsewhere, and put its file into the directory of images."
_CONSOLES: Final = "pinfold's guests have no display, only a serial console: use `openstack console url show --serial`."

_ACTIONS: Final = {
    "addFixedIp": (_NETWORKS, "..2.43"),
    "removeFixedIp": (_NETWORKS, "..2.43"),
    "addFloatingIp": (_NETWORKS, "..2.43"),
    "removeFloatingIp": (_NETWORKS, "..2.43"),
    "resetNetwork": (_NETWORKS, "gone"),
    "injectNetworkInfo": (_NETWORKS, ""),
    "addSecurityGroup": ("pinfold has no security groups: filter packets in the guest, or on the operator's network.", ""),
    "removeSecurityGroup": ("pinfold has no security groups: filter packets in the guest, or on the operator's network.", ""),
    "changePassword": ("pinfold changes nothing inside a running guest: log in, and change the password there.", ""),
    "resize": (_SIZES, ""),
    "confirmResize": (_SIZES, ""),
    "revertResize": (_SIZES, ""),
    "createBackup": (_COPIES, ""),
    "createImage": (_COPIES, ""),
    "evacuate": ("pinfold rebuilds no server elsewhere, since its disk is on its host: delete it, and create it anew.", ""),
    "migrate": (_MOVES, ""),
    "os-migrateLive": (_MOVES, ""),
    "os-getVNCConsole": (_CONSOLES, "..2.5"),
    "os-getSPICEConsole": (_CONSOLES, "..2.5"),
    "os-getRDPConsole": (_CONSOLES, "gone"),
    "rescue": (_RESCUES, ""),
    "unrescue": (_RESCUES, ""),
    "shelve": (_SHELVES, ""),
    "shelveOffload": (_SHELVES, ""),
    "unshelve": (_SHELVES, ""),
    "restore": ("pinfold has no soft delete, so nothing of a deleted server remains: create it anew.", ""),
    "trigger_crash_dump": ("pinfold sends no interrupts to guests: run `virsh inject-nmi` on the server's host.", "2.17.."),
}

UNSUPPORTED_ACTIONS: Final[dict[str, Unsupported]] = {
    action: unsupported(f"The action {action}", *words) for action, words in _ACTIONS.items()
}
"""By name. The source is Nova's own list: what `@wsgi.action` marks in the controllers of `/servers/{id}/action` of Nova 34."""
