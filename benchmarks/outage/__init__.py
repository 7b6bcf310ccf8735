"""How a fleet comes back after an outage of its API."""
