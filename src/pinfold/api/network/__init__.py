"""OpenStack's Network API v2, read-only: networks of the hosts' files, and ports of servers."""
