"""The real `openstack` client. A command is forked from a process that has loaded the client, which takes longer than any command.

`tests/real/test_readme.py` and `test_the_clouds_entry_that_is_printed_works` type the program that is installed.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from tests.rig import loaded


def answer(line: str, environment: Mapping[str, str]) -> tuple[int, Any, str]:
    """What a line of words comes to: the exit status, the output (parsed where it is JSON), the errors.

    The environment is the machine's, without its own clouds, and this.
    """
    kept = {key: value for key, value in loaded.importing().items() if not key.startswith(("OS_", "PINFOLD_"))}
    done = loaded.run("openstack", shlex.split(line), kept | {"COLUMNS": "200"} | dict(environment))
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.stdout, done.stderr


def of_cloud(clouds: os.PathLike[str], home: os.PathLike[str]) -> Callable[[str], Any]:
    """The client with a clouds.yaml whose entry is `pinfold`: from a line of words to its output. The line must succeed."""
    environment = {"OS_CLOUD": "pinfold", "OS_CLIENT_CONFIG_FILE": str(clouds), "HOME": str(home)}
    return lambda line: succeeded(line, environment)


def succeeded(line: str, environment: Mapping[str, str]) -> Any:
    """The output of a line of words, which must succeed."""
    code, out, err = answer(line, environment)
    assert code == 0, f"openstack {line}: {code}\n{out}\n{err}"
    return out
