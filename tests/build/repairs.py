"""Findings with the commands of a libvirt, for tests of what `core.drift` finds."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from pinfold.core.drift import Finding, Subject
from pinfold.drivers.libvirt.commands import repair_command


def repairable(subject: Subject, findings: Iterable[Finding], *, uri: str = "qemu:///system", local: bool = True) -> tuple[Finding, ...]:
    """The findings about `subject`, with the commands that a libvirt at `uri` gives."""
    return tuple(replace(one, repair=repair_command(uri, subject, one.steps, local=local)) if one.steps else one for one in findings)
