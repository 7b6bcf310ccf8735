"""Read `[keystone_authtoken]` for keystonemiddleware, with every name and type that other OpenStack services accept; and write one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TextIO

from oslo_config import cfg

from pinfold.core.errors import InvalidRequest
from pinfold.core.registration import Wanted

GROUP: Final = "keystone_authtoken"


def keystone_conf(files: Sequence[str]) -> cfg.ConfigOpts:
    """The same files as oslo.config reads them, for keystonemiddleware, which registers its own options and those of its plugins.

    pinfold does not know these options: they differ by plugin and by release. Raises `InvalidRequest` for a file that cannot be read.
    """
    conf = cfg.ConfigOpts()
    try:
        conf(args=[], project="pinfold", default_config_files=list(files), default_config_dirs=[], use_env=False)
    except cfg.Error as error:
        raise InvalidRequest(f"configuration {', '.join(files)}: {error}") from error
    return conf


def authtoken_section(wanted: Wanted, password: str) -> str:
    """`[keystone_authtoken]` for a service that is registered so. Without a password, a comment says which one belongs there.

    Raises `InvalidRequest` for a name with a line break or another character that a configuration file cannot hold.

    >>> print(authtoken_section(Wanted(url="", types=(), region="west", keystone="http://keystone/v3"), ""), end="")
    [keystone_authtoken]
    auth_type = password
    auth_url = http://keystone/v3
    region_name = west
    username = pinfold
    user_domain_name = Default
    project_name = service
    project_domain_name = Default
    # password = the password of the user pinfold; write a $ in it as $$
    """
    values = {
        "auth_type": "password",
        "auth_url": wanted.keystone,
        "region_name": wanted.region,
        "username": wanted.user,
        "user_domain_name": wanted.domain,
        "project_name": wanted.project,
        "project_domain_name": wanted.domain,
    }
    for key, value in values.items():
        if not value.isprintable() or value != value.strip():
            raise InvalidRequest(f"{key} {value!r} cannot stand in pinfold.conf; it must be printable, without blanks at its ends", key=key)
    lines = [f"{key} = {value.replace('$', '$$')}" for key, value in values.items()]
    last = f"password = {password}" if password else f"# password = the password of the user {wanted.user}; write a $ in it as $$"
    return "\n".join((f"[{GROUP}]", *lines, last)) + "\n"


@contextmanager
def new_private_file(path: str) -> Iterator[TextIO]:
    """A new file that only the user can read. Raises `InvalidRequest` if it exists or cannot be made."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidRequest(f"--output {path} cannot be made: {error.strerror}", key="--output") from error
    with open(descriptor, "w", encoding="utf-8") as stream:
        yield stream
