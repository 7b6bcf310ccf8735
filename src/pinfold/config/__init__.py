"""The one reader of configuration: `pinfold.conf` or `nova.conf` in, frozen values out. What is decided with them does not belong here."""

from pinfold.config.find import find_files
from pinfold.config.host import Configuration, load

__all__ = ["Configuration", "find_files", "load"]
