"""OpenStack Placement: what a host offers and a guest consumes, and one client for an embedded or a remote Placement."""
