"""Readers of this host's procfs, sysfs and cgroups. They do not decide anything."""
