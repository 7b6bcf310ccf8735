"""Servers of the Compute API: a module for each kind of request, the bodies and schemas, and the view of a guest as a server."""
