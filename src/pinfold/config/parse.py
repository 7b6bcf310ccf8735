"""Parse configuration files with oslo.config. Each error is a sentence. `host` and `fleet` interpret the values."""

from __future__ import annotations

import io
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from oslo_config import cfg

from pinfold.config.options import AUDITED, GROUPS, REFUSED, allowed
from pinfold.core.bounds import MAX_FILE_BYTES
from pinfold.core.errors import InvalidRequest
from pinfold.core.options import Option
from pinfold.core.printable import quoted, shortened


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One `key = value` of a file: its position and its text."""

    file: str
    group: str
    key: str
    value: str


class Values:
    """The value of every option in the table, from the files. Read only."""

    def __init__(self, files: tuple[str, ...], entries: tuple[Entry, ...], conf: cfg.ConfigOpts) -> None:
        self.files = files
        self.entries = entries
        self._conf = conf

    def get(self, group: str, name: str) -> Any:
        """The value of one option, or its default. Raises `InvalidRequest` naming file, key, value and what is allowed."""
        try:
            value = self._conf[name] if group == "DEFAULT" else self._conf[group][name]
        except (cfg.Error, ValueError, RecursionError) as error:  # `host = $host` refers to itself without end
            entry = self.given(group, name)
            if entry is not None and "$" in entry.value:
                raise self.refuse(group, name, "names another option, which these files do not give; write its value") from error
            raise self.refuse(group, name, f"is not allowed; {allowed(_option(group, name))} is") from error
        opt = _option(group, name)
        nothing = value is None and opt.default is not None  # "key =" is neither a number nor the default
        endless = isinstance(value, float) and not isfinite(value)  # "nan" passes every comparison with a bound
        if nothing or endless:
            raise self.refuse(group, name, f"is not allowed; {allowed(opt)} is")
        return value

    def path(self, group: str, name: str, default: str = "") -> str:
        """A path option, `default` if it is not set. A relative path starts at the folder of the file that sets it.

        Raises `InvalidRequest` for an empty path, and for the home of an unknown user.
        """
        text = self.get(group, name)
        if text is None:
            return default
        if not text.strip():
            raise self.refuse(group, name, "is empty; a path is allowed")
        entry = self.given(group, name)
        try:
            return str((Path(entry.file).parent if entry else Path("/")) / Path(text).expanduser())
        except RuntimeError as error:
            raise self.refuse(group, name, "names a user who has no home here; write the whole path") from error

    def given(self, group: str, name: str) -> Entry | None:
        """The line that decides an option: the last one of the last file; None if no file sets it."""
        found = None
        for entry in self.entries:
            if entry.group == group and entry.key == name:
                found = entry
        return found

    def options(self) -> tuple[Option, ...]:
        """Every option with its value, in the order of the table."""
        return tuple(
            Option(key=key_of(group.name, opt.name), value=_text(self.get(group.name, opt.name)), secret=bool(opt.secret))
            for group in GROUPS
            for opt in group.options
        )

    def refuse(self, group: str, name: str, why: str) -> InvalidRequest:
        """The error for the value of an option, with its file and line."""
        entry = self.given(group, name)
        if entry is None:
            return InvalidRequest(f"[{group}] {name} {why}", key=key_of(group, name))
        shown = "its value" if _is_secret(group, name) else quoted(entry.value)
        return InvalidRequest(f"[{group}] {name} in {entry.file}: {shown} {why}", key=key_of(group, name))


def parse(files: Sequence[str], *, audits: bool = False, without: Collection[str] = ()) -> Values:
    """The values of every option in `files`; later files win. The environment is not read.

    With `audits`, the options that placing refuses are read like the others. `without` names options (`[group] name`, as in the key of an
    error) that count as not given. Raises `InvalidRequest` for a file that cannot be read or parsed, for a refused option and for a value
    that its option does not allow.
    """
    entries = tuple(entry for file in files for entry in read_entries(file) if key_of(entry.group, entry.key) not in without)
    conf = cfg.ConfigOpts()
    for group in (*GROUPS, *AUDITED):
        conf.register_opts(list(group.options), group=None if group.name == "DEFAULT" else group.name)
    _register_referenced(conf, entries)
    try:
        conf(args=[], project="pinfold", default_config_files=list(files), default_config_dirs=[], use_env=False)
    except (cfg.Error, RecursionError) as error:
        raise InvalidRequest(f"configuration {', '.join(files)}: {error}") from error
    for group in (*GROUPS, *AUDITED):
        for opt in group.options:
            if key_of(group.name, opt.name) in without:
                conf.set_override(opt.name, opt.default, group=None if group.name == "DEFAULT" else group.name)
    values = Values(tuple(files), entries, conf)
    if not audits:
        _refuse_by_name(values)
    for group in (*GROUPS, *(AUDITED if audits else ())):
        for opt in group.options:
            values.get(group.name, opt.name)
    return values


def key_of(group: str, name: str) -> str:
    """The name of an option in errors: `[group] name`."""
    return f"[{group}] {name}"


def read_entries(file: str) -> tuple[Entry, ...]:
    """Every line of a configuration file, in order. Raises `InvalidRequest` if it is unreadable, too large, binary or malformed."""
    text = read_text(file, "configuration file")
    parser = _Lines(file)
    try:
        parser.parse(io.StringIO(text, newline=None).readlines())
    except cfg.ParseError as error:
        if not error.line:
            raise InvalidRequest(f"configuration file {file}: its first key stands before any [section]", key=file) from error
        line = shortened((error.line or "").strip())
        raise InvalidRequest(
            f"configuration file {file}, line {error.lineno}: {line!r} is neither [section] nor key = value", key=file
        ) from error
    return tuple(parser.entries)


def read_text(file: str, what: str) -> str:
    """The text of a file of at most 1 MiB. Raises `InvalidRequest` naming `what` it should be, the file, and why it is not."""
    path = Path(file)
    try:
        if path.is_dir():
            raise InvalidRequest(f"{what} {file} is a folder", key=file)
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidRequest(f"{what} {file} cannot be read: {error.strerror}", key=file) from error
    if len(data) > MAX_FILE_BYTES:
        raise InvalidRequest(f"{what} {file} is larger than {MAX_FILE_BYTES >> 20} MiB", key=file)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{what} {file} is not text in UTF-8 (byte {error.start})", key=file) from error
    if "\0" in text:
        raise InvalidRequest(f"{what} {file} is binary, not text", key=file)
    return text


def read_tables(file: str, what: str, group: str, *, table: str, most: int) -> Mapping[str, object]:
    """The tables of a TOML file of at most 1 MiB that holds tables of one group alone, each written like `table`, at most `most`. Raises
    `InvalidRequest` as `read_text` does, and for another content.
    """
    try:
        document = tomllib.loads(read_text(file, what))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidRequest(f"{what} {file} is not TOML: {error}", key=file) from error
    for key in document:
        if key != group:
            raise InvalidRequest(f"{what} {file}: {quoted(key)} is not allowed; tables {table} are", key=key)
    tables = document.get(group, {})
    if not isinstance(tables, dict):
        each = f"write one table {table} for each {group.removesuffix('s')}"
        raise InvalidRequest(f"{what} {file}: {group} is not a table; {each}", key=group)
    if len(tables) > most:
        raise InvalidRequest(f"{what} {file} has {len(tables)} {group}, at most {most} are allowed", key=file)
    return tables


class _Lines(cfg.ConfigParser):  # type: ignore[misc]
    """oslo.config's own parser, so that checks see what oslo.config reads. Group names are normalized as oslo.config compares them."""

    def __init__(self, file: str) -> None:
        super().__init__(file, {})
        self.entries: list[Entry] = []

    def parse(self, lines: list[str]) -> None:
        cfg.ConfigParser.__mro__[1].parse(self, lines)

    def assignment(self, key: str, value: list[str]) -> None:
        if not self.section:
            raise self.error_no_section()
        group = self.section if self.section == "DEFAULT" else self.section.lower()
        group = "DEFAULT" if group == "default" else group
        self.entries.append(Entry(file=self.filename, group=group, key=key, value="\n".join(value)))


def _register_referenced(conf: cfg.ConfigOpts, entries: tuple[Entry, ...]) -> None:
    """Make `host = $my_ip` work as in Nova: register unknown options that values refer to as texts of group DEFAULT."""
    given = {entry.key for entry in entries if entry.group == "DEFAULT"}
    ours = {opt.name for group in (*GROUPS, *AUDITED) if group.name == "DEFAULT" for opt in group.options}
    referenced = {name for entry in entries for name in re.findall(r"\$\{?(\w+)", entry.value)}
    conf.register_opts([cfg.StrOpt(name) for name in sorted(referenced & given - ours)])


def _refuse_by_name(values: Values) -> None:
    for refused in REFUSED:
        entry = values.given(refused.group, refused.name)
        if entry is not None and entry.value.strip().lower() not in refused.harmless:
            raise values.refuse(refused.group, refused.name, f"is refused: {refused.instead}")


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _is_secret(group: str, name: str) -> bool:
    return any(opt.secret for known in GROUPS if known.name == group for opt in known.options if opt.name == name)


def _option(group: str, name: str) -> cfg.Opt:
    return next(opt for known in (*GROUPS, *AUDITED) if known.name == group for opt in known.options if opt.name == name)
