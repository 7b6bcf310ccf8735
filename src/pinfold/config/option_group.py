"""`OptionGroup` and `RefusedOption`: the two types in the table of options. The options are in `options_<part>.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from oslo_config import cfg


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionGroup:
    """One `[section]` of a configuration file.

    `title` says what it is for. `nova` names its options that Nova has too, with the same meaning. A group is `exclusive` if Nova has no
    group of that name; then every unknown key in it is a mistake.
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
    """An option of Nova's that affects placement in a way that pinfold does not implement.

    `harmless` are values without effect, which are accepted. `instead` completes the sentence: what replaces it, or why it is refused.
    `audited` says how the commands that change nothing use it.
    """

    group: str
    name: str
    harmless: tuple[str, ...]
    instead: str
    audited: str
