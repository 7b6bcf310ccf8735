"""Hypervisors of the Compute API: the hosts, as Nova shows them."""
