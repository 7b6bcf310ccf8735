"""The engine's answers beside those of an independent search."""
