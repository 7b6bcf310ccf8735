"""Make, change and release claims: in the store and in Placement, so that a crash at any point can be healed."""
