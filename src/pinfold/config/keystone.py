"""Read `[keystone_authtoken]` for keystonemiddleware, with every name and type that other OpenStack services accept."""

from __future__ import annotations

from collections.abc import Sequence

from oslo_config import cfg

from pinfold.core.errors import InvalidRequest


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
