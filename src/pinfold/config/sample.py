"""Write a sample `pinfold.conf` from the table of options."""

from __future__ import annotations

import textwrap

from pinfold.config.options import GROUPS, REFUSED, allowed, default_text

_HEAD = """\
# pinfold.conf: every option with its default, commented out.
# A nova.conf can be read in its place: the options marked "as in Nova" have Nova's names and meaning.
"""


def sample() -> str:
    """The file's text. It has every option once, commented out, with its default. Uncommenting a line changes only that option."""
    parts = [_HEAD]
    for group in GROUPS:
        parts.append(f"\n[{group.name}]\n{_comment(group.title)}")
        for opt in group.options:
            words = " ".join((opt.help or "").split()) + (" As in Nova." if opt.name in group.nova else "")
            default = default_text(opt)
            literal = opt.sample_default is None and default != "not set"
            parts.append(f"\n{_comment(words)}{_comment('Allowed: ' + allowed(opt) + '.')}")
            parts.append(f"#{opt.name} = {default}\n" if literal else f"{_comment('Default: ' + default + '.')}#{opt.name} =\n")
    parts.append("\n# Refused by commands that place guests, wherever they come from:\n")
    parts.extend(_comment(f"[{refused.group}] {refused.name}: {refused.instead}.") for refused in REFUSED)
    return "".join(parts)


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, width=100))
