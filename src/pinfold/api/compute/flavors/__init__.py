"""Flavors of the Compute API."""
