"""A guest's request: the known extra specs, how flavor and image merge, and the compiled `GuestRequest`."""
