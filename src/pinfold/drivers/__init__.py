"""Hypervisors: the port that pinfold speaks, and one package for each hypervisor behind it."""
