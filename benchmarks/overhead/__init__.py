"""How long overhead threads wait on a pool that is more and more busy."""
