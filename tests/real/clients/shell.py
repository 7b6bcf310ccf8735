"""Runs many commands of the real `openstack` client in one process, since starting it takes longer than any command.

Reads a JSON array of command lines, writes a JSON array of `[status, output, errors]`. What is expected of them does not belong here.
"""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import sys

from openstackclient import shell


def run(line: str) -> tuple[int, str, str]:
    """One command as the client's entry point runs it."""
    out, err = io.StringIO(), io.StringIO()
    # cliff gives its streams to the shell when it is made.
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        made = shell.OpenStackShell()
        made.stdout, made.stderr = out, err
        try:
            code = made.run(shlex.split(line))
        except SystemExit as ended:  # words that the client does not know
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    lines = json.load(sys.stdin)
    json.dump([run(line) for line in lines], sys.__stdout__)
