"""The engine beside Nova's own fit: the same hosts and flavors, alternating in one run."""
