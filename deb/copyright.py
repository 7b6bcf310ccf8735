"""Debian's `copyright` file, machine-readable: pinfold, and every Python package that is carried, each with the texts it came with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.message import Message
from importlib.metadata import Distribution
from typing import cast

from deb.distributions import canonical, licences

_HEAD = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: pinfold
Comment: The folder usr/lib/pinfold carries pinfold and the Python packages that it needs, each unchanged but for debugging symbols. A
 paragraph below names each with its version and with the address of its source.

Files: *
Copyright: the authors of pinfold
License: Apache-2.0

License: Apache-2.0
 On Debian systems, the full text of the Apache License 2.0 is in
 /usr/share/common-licenses/Apache-2.0.
"""


def copyright_file(carried: Sequence[Distribution]) -> str:
    """The whole file."""
    return "\n".join([_HEAD, *map(_paragraphs, carried)])


def _paragraphs(one: Distribution) -> str:
    texts = licences(one)
    metadata = _metadata(one)
    expression = metadata.get("License-Expression") or metadata.get("License") or "see below"
    name = f"{canonical(metadata['Name'])}-{one.version}"
    body = [line for file, text in texts.items() for line in (f"{file}:", "", *text.splitlines(), "")]
    lines = [
        "Files: " + "\n ".join(f"usr/lib/pinfold/{top}" for top in _tops(one)),
        f"Copyright: {_holders(texts) or metadata.get('Author') or metadata.get('Author-email') or 'its authors'}",
        f"License: {name}",
        f"Comment: {metadata['Name']} {one.version}, licence {expression.splitlines()[0]}. Source: {_source(one)}",
        "",
        f"License: {name}",
        *(f" {line.rstrip()}" if line.strip() else " ." for line in body),
    ]
    return "\n".join(lines) + "\n"


def _metadata(one: Distribution) -> Message:
    """The metadata, as the message that it is in every Python; the type that it has promises less."""
    return cast("Message", one.metadata)


def _source(one: Distribution) -> str:
    """The address where the package says that its source is; else that of its pages; else the index that it came from."""
    said = dict(url.split(", ", 1) for url in _metadata(one).get_all("Project-URL") or ())
    urls = {label.lower().strip(): url for label, url in said.items()}
    labels = ("source", "source code", "repository", "code", "github", "homepage")
    return next((urls[label] for label in labels if label in urls), _metadata(one).get("Home-page") or "the Python Package Index")


def _tops(one: Distribution) -> list[str]:
    """What the package has at the top of its folder, folders with a star."""
    parts = [file.parts for file in one.files or () if ".." not in file.parts and "__pycache__" not in file.parts]
    return sorted({f"{found[0]}/*" if len(found) > 1 else found[0] for found in parts})


def _holders(texts: dict[str, str]) -> str:
    """The lines of the licences that say who holds the copyright, one a line as the form has it."""
    lines = [line.strip(" *#\t") for text in texts.values() for line in text.splitlines()]
    found = dict.fromkeys(
        re.sub(r"(?i)^copyright\s*(\(c\)|©)?\s*", "", line) for line in lines if re.match(r"(?i)copyright\s.*\d{4}", line)
    )
    return "\n ".join(found)
