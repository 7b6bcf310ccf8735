"""How much memory the API takes for a fleet."""
