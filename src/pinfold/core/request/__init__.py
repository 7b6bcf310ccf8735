"""What a guest asks for: the extra specs that are known, how flavor and image merge, and the request that comes of it."""
