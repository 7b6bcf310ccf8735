"""Golden files: a text beside what it should be. `PINFOLD_REWRITE=1` writes them anew, to be reviewed by reading."""

from __future__ import annotations

import os
from pathlib import Path


def check(path: Path, text: str) -> None:
    """Fails when the file at `path` is not `text`."""
    if os.environ.get("PINFOLD_REWRITE") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{path.name} differs; PINFOLD_REWRITE=1 writes it anew"
