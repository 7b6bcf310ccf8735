"""OpenStack Placement: what a host offers and a guest consumes, and the one client for an embedded or a remote Placement."""
