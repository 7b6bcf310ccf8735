"""Resources in OpenStack Placement: what a host offers and a guest consumes, and the client that says so."""
