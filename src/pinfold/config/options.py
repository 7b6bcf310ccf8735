"""The table of all options: groups of oslo.config options, and the options of Nova's that are refused.

Each part of pinfold with options has a module `options_<part>.py`, which exports `GROUPS` and is listed here once. The reader, the sample,
the check and the reference all use this table. Two parts may add to one group.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from oslo_config import cfg, types

from pinfold.config import options_connections, options_fleet, options_host
from pinfold.config.option_group import OptionGroup, RefusedOption

_PARTS: tuple[tuple[OptionGroup, ...], ...] = (options_host.GROUPS, options_fleet.GROUPS, options_connections.GROUPS)


def _merged(parts: tuple[tuple[OptionGroup, ...], ...]) -> tuple[OptionGroup, ...]:
    groups: dict[str, OptionGroup] = {}
    for group in chain.from_iterable(parts):
        known = groups.get(group.name)
        groups[group.name] = group if known is None else known.joined(group)
    return tuple(groups.values())


GROUPS: tuple[OptionGroup, ...] = _merged(_PARTS)
"""All groups, each once, in the order of the sample and the reference."""

REFUSED: tuple[RefusedOption, ...] = options_host.REFUSED
"""Options of Nova's that pinfold does not follow when it places guests, each with the reason."""

AUDITED: tuple[OptionGroup, ...] = options_host.AUDITED
"""The same options with their types, for the commands that change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionDescription:
    """The description of one option: group, name, allowed values, default, and help in one paragraph."""

    group: str
    name: str
    allowed: str
    default: str
    help: str
    nova: bool


def option_descriptions() -> tuple[OptionDescription, ...]:
    """The description of every option, in the order of `GROUPS`."""
    return tuple(
        OptionDescription(
            group=group.name,
            name=opt.name,
            allowed=allowed(opt),
            default=default_text(opt),
            help=" ".join((opt.help or "").split()),
            nova=opt.name in group.nova,
        )
        for group in GROUPS
        for opt in group.options
    )


def allowed(opt: cfg.Opt) -> str:
    """The values that an option allows, as text for errors, the sample and the reference.

    >>> allowed(cfg.FloatOpt("ratio", min=0.0))
    'a number of 0 or more'
    >>> allowed(cfg.StrOpt("booking", choices=["enforce", "report"]))
    'enforce or report'
    """
    metavar = opt.metavar
    if metavar:
        return str(metavar)
    kind = opt.type
    if getattr(kind, "choices", None):
        return " or ".join(repr(choice) if choice == "" else str(choice) for choice in kind.choices)
    if isinstance(kind, types.Boolean):
        return "true or false"
    if isinstance(kind, types.Integer):
        return "a whole number" + _bounds(kind.min, kind.max)
    if isinstance(kind, types.Float):
        return "a number" + _bounds(kind.min, kind.max)
    return "a text"


def default_text(opt: cfg.Opt) -> str:
    """An option's default as written in a file; `not set` if there is none."""
    if opt.sample_default is not None:
        return str(opt.sample_default)
    if opt.default is None or opt.default == "":
        return "not set"
    if isinstance(opt.default, bool):
        return str(opt.default).lower()
    return str(opt.default)


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {_plain(low)} to {_plain(high)}"
    if low is not None:
        return f" of {_plain(low)} or more"
    return "" if high is None else f" of at most {_plain(high)}"


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)
