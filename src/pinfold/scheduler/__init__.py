"""Decide which host takes a guest. `service.claims` claims it."""
