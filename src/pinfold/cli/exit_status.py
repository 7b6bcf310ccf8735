"""Exit statuses, and how an error at the top becomes one sentence."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import traceback
from enum import IntEnum
from pathlib import Path
from typing import Any

from pinfold.core.errors import Conflict, InvalidRequest, InvariantViolation, PinfoldError, Unavailable
from pinfold.core.printable import json_shown, quoted, shell_word, shown
from pinfold.extras import installing


class ExitStatus(IntEnum):
    """The meaning of a command's exit status."""

    OK = 0
    """done; for `audit` and `doctor`: nothing found"""
    REFUSED = 1
    """the request does not fit, or something was found: the answer is on standard output"""
    BAD_INPUT = 2
    """an option, a key, a value or a file is wrong; nothing was done"""
    UNAVAILABLE = 3
    """a peer is away, such as libvirt; nothing was decided"""
    CONFLICT = 4
    """somebody else was first, or the name is taken; look again and decide again"""
    INTERNAL = 70
    """a bug of pinfold's; the message names the file with the details"""
    INTERRUPTED = 130
    """ended by Ctrl-C"""


_KINDS: tuple[tuple[type[PinfoldError], str, ExitStatus], ...] = (
    (InvalidRequest, "invalid-request", ExitStatus.BAD_INPUT),
    (Conflict, "conflict", ExitStatus.CONFLICT),
    (Unavailable, "unavailable", ExitStatus.UNAVAILABLE),
    (InvariantViolation, "invariant-violation", ExitStatus.INTERNAL),
)


_BASE = frozenset({"defusedxml", "libvirt", "libvirtmod", "msgspec", "oslo_config", "rich", "typer"})
"""The packages of every installation, by their import names."""


_OF_THE_WATCH = frozenset({"prometheus_client"})
_FROM_DEBIANS_PACKAGE = Path(__file__).parents[2].parts[-3:] == ("usr", "lib", "pinfold")
"""Whether this is the installation of the .deb, which brings the watch and the agent, and no API."""


def report(error: BaseException, *, as_json: bool) -> ExitStatus:
    """Print an error on standard error, as one sentence or one JSON document, and return the exit status for it.

    An error that is not one of pinfold's is a bug: its traceback goes to a file that only the user can read, and the sentence names the
    file.
    """
    if isinstance(error, KeyboardInterrupt):
        return _say("interrupted", "interrupted", ExitStatus.INTERRUPTED, None, as_json=as_json)
    if isinstance(error, PinfoldError):
        other = (re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower(), ExitStatus.REFUSED)
        kind, status = next(((kind, status) for cls, kind, status in _KINDS if isinstance(error, cls)), other)
        return _say(str(error), kind, status, getattr(error, "key", None), as_json=as_json)
    if hasattr(error, "format_message"):  # an error of the parser: an unknown option, a missing argument
        if not str(error):  # a group without a command: its help is already printed
            return ExitStatus.BAD_INPUT
        return _say(_usage_sentence(error), "usage", ExitStatus.BAD_INPUT, None, as_json=as_json)
    if missing := _missing_package(error):
        sentence = f"this command needs the Python package {missing}, which is not installed; {_install(missing)}"
        return _say(sentence, "missing-package", ExitStatus.UNAVAILABLE, missing, as_json=as_json)
    message = f"internal error: {type(error).__name__}: {error}; the traceback is in {_keep_traceback(error)}, please report it"
    return _say(message, "internal", ExitStatus.INTERNAL, None, as_json=as_json)


def _missing_package(error: BaseException) -> str:
    """The package of an extra that a command could not import; '' for every other error, including a missing module of pinfold itself."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    package = error.name.partition(".")[0]
    return "" if package == "pinfold" else package


def _install(package: str) -> str:
    """How to install a missing package in the environment of this Python.

    >>> _install("httpx").partition(": ")[0], _install("prometheus_client").partition(": ")[0]
    ("install the service's parts", 'install the parts for metrics')
    """
    if package in _BASE:
        return f"install pinfold anew: {shell_word(sys.executable)} -m pip install --force-reinstall pinfold"
    if package in _OF_THE_WATCH:
        return f"install the parts for metrics: {installing('watch')}"
    if _FROM_DEBIANS_PACKAGE:
        return "the Debian package has no API; set it up from a clone of pinfold, with bin/setup --service"
    return f"install the service's parts: {installing('fleet')}"


def warn(sentence: str) -> None:
    """Print a warning on standard error; the command goes on."""
    print(f"pinfold: warning: {shown(sentence)}", file=sys.stderr)


def tell(sentence: str) -> None:
    """Print how far the command is on standard error, where a bar would be of no use."""
    print(f"pinfold: {shown(sentence)}", file=sys.stderr, flush=True)


def _say(message: str, kind: str, status: ExitStatus, key: str | None, *, as_json: bool) -> ExitStatus:
    if as_json:
        document = {"error": {"kind": kind, "message": message, "key": key, "status": int(status)}}
        print(json_shown(json.dumps(document)), file=sys.stderr)
    else:
        print(f"pinfold: {shown(message)}", file=sys.stderr)
    return status


def _usage_sentence(error: BaseException) -> str:
    message = _number_sentence(error) or " ".join(str(getattr(error, "format_message")()).split()).rstrip(".")  # noqa: B009
    context = getattr(error, "ctx", None)
    return f"{message}; see '{context.command_path} --help'" if context is not None else message


def _number_sentence(error: BaseException) -> str:
    """The sentence about an option that needs a number and got something else; '' for every other error.

    Typer 0.29 reads values with pydantic, whose words are about inputs and parsers.
    """
    option: Any = getattr(error, "param", None)
    failures = getattr(error.__cause__, "errors", None)
    reading = option.get_runtime_param() if hasattr(option, "get_runtime_param") else None
    kind = getattr(reading, "annotation", None)
    if failures is None or reading is None or kind not in (int, float):
        return ""
    noun = "a whole number" if kind is int else "a number"
    info, value = reading.parameter_info, str(failures()[0]["input"])
    limits = [f"of at least {info.min:g}"] if info.min is not None else []
    limits += [f"of at most {info.max:g}"] if info.max is not None else []
    if len(limits) == 2:
        limits = [f"from {info.min:g} to {info.max:g}"]
    return f"{max(option.opts, key=len)} {quoted(value)} is not allowed; {' '.join([noun, *limits])} is"


def _keep_traceback(error: BaseException) -> str:
    try:
        handle, path = tempfile.mkstemp(prefix="pinfold-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
            traceback.print_exception(error, file=stream)
    except OSError as failure:
        return f"no file ({failure.strerror})"
    return path
