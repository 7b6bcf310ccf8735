"""Read configuration: `pinfold.conf` or `nova.conf` in, frozen values out. No other package reads these files."""

from pinfold.config.find import find_files
from pinfold.config.host import Configuration, load

__all__ = ["Configuration", "find_files", "load"]
