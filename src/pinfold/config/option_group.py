"""`OptionGroup` and `RefusedOption`: the two shapes that a table of options is made of. The options themselves do not belong here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from oslo_config import cfg


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionGroup:
    """One `[section]` of a configuration file.

    `title` says what it is for. `nova` names those of its options that Nova has too, with the same meaning. A group is `exclusive` when
    Nova has none of that name, so that every unknown key in it is a mistake.
    """

    name: str
    title: str
    options: tuple[cfg.Opt, ...]
    nova: frozenset[str] = frozenset()
    exclusive: bool = False

    def joined(self, other: OptionGroup) -> OptionGroup:
        """This group with the options of `other`, a group of the same name, after its own."""
        return replace(
            self, options=self.options + other.options, nova=self.nova | other.nova, exclusive=self.exclusive and other.exclusive
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedOption:
    """An option of Nova's that would change a placement in a way that pinfold does not follow.

    `harmless` are the values that mean nothing and pass. `instead` is the rest of the sentence: what replaces it, or why it is refused.
    `audited` says what the commands that only look at a host make of it.
    """

    group: str
    name: str
    harmless: tuple[str, ...]
    instead: str
    audited: str
