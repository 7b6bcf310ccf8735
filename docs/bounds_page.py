"""The reference page of the largest sizes that readers accept, from `core.bounds`. Other reference pages do not belong here."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise

from docs.markdown import table

from pinfold.core import bounds

_HEAD = """# Limits

What pinfold reads from elsewhere (libvirt's XML, templates, records, host texts, CPU lists, files) is refused in one sentence where it is
larger. The numbers stand in `pinfold.core.bounds`.

"""


def limits() -> str:
    """The page: every constant of `core.bounds`, its value, and the docstring that stands below it."""
    rows = []
    for node, after in pairwise(ast.parse(inspect.getsource(bounds)).body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id.startswith("MAX_"):
            text = ast.literal_eval(after.value) if isinstance(after, ast.Expr) else ""
            rows.append((f"`{node.target.id}`", f"{getattr(bounds, node.target.id):,}", text))
    return _HEAD + table(("name", "value", "what it is"), rows)
