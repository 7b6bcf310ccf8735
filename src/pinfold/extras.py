"""How the packages of an extra come into the environment of this Python, from wherever pinfold itself came: a clone, a file or an index."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pinfold.core.printable import shell_line

_ROOT = Path(__file__).parents[2]


def installing(extra: str, *, root: Path = _ROOT, prefix: str = sys.prefix) -> str:
    """The command that installs an extra: `bin/setup --service` in the `.venv` of the clone `root`, which has all extras; else pip.

    pip gets the address that pinfold was installed from, because an index need not have it.

    >>> installing("fleet", root=Path("/opt/no clone"), prefix="/usr").endswith(" -m pip install 'pinfold[fleet]'")
    True
    """
    setup = root / "bin" / "setup"
    if setup.is_file() and Path(prefix).resolve() == (root / ".venv").resolve():
        return shell_line([str(setup), "--service"])
    return shell_line([sys.executable, "-m", "pip", "install", *_requirement(extra, _origin() if root == _ROOT else {})])


def _requirement(extra: str, origin: dict[str, Any]) -> list[str]:
    """What pip installs: the extra of this pinfold, by the record of its installation (PEP 610), empty for an index.

    >>> _requirement("ui", {"url": "file:///tmp/pinfold-0.1.0-py3-none-any.whl", "archive_info": {}})
    ['pinfold[ui] @ file:///tmp/pinfold-0.1.0-py3-none-any.whl']
    >>> _requirement("ui", {"url": "https://git.example/pinfold", "vcs_info": {"vcs": "git", "commit_id": "0a1b"}})
    ['pinfold[ui] @ git+https://git.example/pinfold@0a1b']
    >>> _requirement("ui", {"url": "file:///opt/pinfold", "dir_info": {"editable": True}})
    ['-e', '/opt/pinfold[ui]']
    >>> _requirement("ui", {})
    ['pinfold[ui]']
    """
    url, name = origin.get("url"), f"pinfold[{extra}]"
    if not url:
        return [name]
    if origin.get("dir_info", {}).get("editable"):
        return ["-e", f"{url2pathname(urlsplit(url).path)}[{extra}]"]
    if vcs := origin.get("vcs_info"):
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    return [f"{name} @ {url}"]


def _origin() -> dict[str, Any]:
    """The record of where the installed pinfold came from; empty if it came from an index or there is none."""
    try:
        record = distribution("pinfold").read_text("direct_url.json")
    except PackageNotFoundError:
        return {}
    found = json.loads(record) if record else {}
    return found if isinstance(found, dict) else {}
