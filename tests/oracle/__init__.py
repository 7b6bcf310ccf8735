"""The oracle: what fits, decided a second time from the contract alone. Nothing of the engine is imported here but value types."""
