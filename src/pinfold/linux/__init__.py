"""Readers of this host's procfs, sysfs and cgroups. They decide nothing."""
