"""Which permissions a file's mode gives to group and others beyond those allowed. Pure; the callers read the mode."""

from __future__ import annotations

_GROUP, _OTHERS = 0o070, 0o007
_WRITE, _READ = 0o022, 0o044


def exposure(mode: int, allowed: int) -> str:
    """The worst permission that `mode` grants beyond `allowed`, as text; '' if there is none. Execute permission does not count.

    >>> exposure(0o100660, 0o640), exposure(0o100666, 0o640), exposure(0o100604, 0o640), exposure(0o100640, 0o640)
    ('its group can change it', 'everybody can change it', 'everybody can read it', '')
    """
    beyond = mode & ~allowed
    for bits, verb in ((_WRITE, "change"), (_READ, "read")):
        for who, name in ((_OTHERS, "everybody"), (_GROUP, "its group")):
            if beyond & bits & who:
                return f"{name} can {verb} it"
    return ""


def refusal(path: str, mode: int, allowed: int, fix: str) -> str:
    """The error sentence for a file that is too open, '' if it is not. `fix` names the right modes.

    >>> refusal("/etc/pinfold/accounts", 0o100660, 0o640, "0600 or 0640")
    '/etc/pinfold/accounts: its group can change it (mode 0660); its mode must be 0600 or 0640'
    """
    found = exposure(mode, allowed)
    return f"{path}: {found} (mode {mode & 0o7777:04o}); its mode must be {fix}" if found else ""
