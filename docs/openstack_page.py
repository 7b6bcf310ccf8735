"""The reference page of the commands of the `openstack` client, with the tests that type each of them with the real client."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from docs.markdown import code, table

ROOT: Final = Path(__file__).parents[1]
_FOLDERS: Final = ("tests/real/clients", "tests/real/fleet", "tests/real/identity", "tests/real/access")

WORKING: Final = (
    "server create --network",
    "server create --nic",
    "server create --no-network",
    "server create --key-name",
    "server create --user-data",
    "server create --use-config-drive",
    "server create --host",
    "server create --availability-zone",
    "server create --min",
    "server create --hint",
    "server list",
    "server list --all-projects",
    "server list --long",
    "server list --project",
    "server show",
    "server show --topology",
    "server show --diagnostics",
    "server set",
    "server set --state",
    "server set --tag",
    "server unset",
    "server delete",
    "server delete --force",
    "server start",
    "server stop",
    "server reboot",
    "server pause",
    "server unpause",
    "server suspend",
    "server resume",
    "server rebuild",
    "server lock",
    "server unlock",
    "server add network",
    "server add fixed ip",
    "server remove network",
    "server remove port",
    "server event list",
    "server event show",
    "usage list",
    "usage show",
    "console log show",
    "console url show --serial",
    "keypair create",
    "keypair list",
    "keypair show",
    "keypair delete",
    "network list",
    "network show",
    "subnet list",
    "port list --server",
    "security group list",
    "image list",
    "image show",
    "image create --file",
    "image set",
    "image unset",
    "image save",
    "image delete",
    "flavor create",
    "flavor set",
    "flavor unset",
    "flavor list",
    "flavor show",
    "flavor delete",
    "hypervisor list",
    "hypervisor show",
    "compute service list",
    "compute service set",
    "aggregate create",
    "aggregate set",
    "aggregate list",
    "availability zone list",
    "project list",
    "project show",
    "quota show",
    "quota set",
    "limits show",
    "resource provider list",
    "resource provider inventory list",
    "resource provider usage show",
)
"""What works, an option beside its command where it matters."""

_PAGE = """# Commands of `openstack`

These commands of the `openstack` client work, and the tests named beside them type them with the real client. What pinfold does not have
answers 501 with a sentence; [routes](routes.md) lists the routes that there are.

With HTTP Basic the client has no catalogue of services. So `openstack limits show` and `openstack quota show` look for volumes, and
`openstack usage show` for the project of a token, and each ends with an error of the client's own. Name the service
and the project: `openstack quota show --compute pinfold`, `openstack usage show --project pinfold`. With Keystone all three work.

{commands}"""


def commands() -> dict[str, tuple[str, ...]]:
    """Each command, and the test files that type it."""
    typed = {str(path.relative_to(ROOT)): tuple(_texts(path)) for folder in _FOLDERS for path in sorted((ROOT / folder).glob("*.py"))}
    return {command: tuple(name for name, texts in typed.items() if _is_typed(command, texts)) for command in WORKING}


def openstack() -> str:
    """Every command with its tests."""
    rows = [(code(f"openstack {command}"), ", ".join(code(name) for name in names)) for command, names in commands().items()]
    return _PAGE.format(commands=table(("command", "typed in"), rows))


def _is_typed(command: str, texts: tuple[str, ...]) -> bool:
    words, _, option = command.partition(" --")
    return any(text.startswith((f"{words} ", f"openstack {words} ")) and f"--{option} " in f"{text} " for text in texts if option) or (
        not option and any(f"{text} ".startswith((f"{words} ", f"openstack {words} ")) for text in texts)
    )


def _texts(path: Path) -> Iterator[str]:
    """The texts of a file; in those with a name in braces, the texts that the name stands for are filled in where the file has them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {
        target.id: _text(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr):
            text = _text(node)
            for name, value in named.items():
                text = text.replace("{" + name + "}", value)
            yield text


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_part(part) for part in node.values)
    return ""


def _part(part: ast.expr) -> str:
    if isinstance(part, ast.FormattedValue):
        return "{" + (part.value.id if isinstance(part.value, ast.Name) else "") + "}"
    return str(part.value) if isinstance(part, ast.Constant) else ""
