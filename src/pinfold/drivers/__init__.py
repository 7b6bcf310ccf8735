"""Hypervisors: the port that pinfold uses, and one package for each hypervisor that implements it."""
