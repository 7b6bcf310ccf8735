"""Which host takes a guest, and the claim that makes it so: index, filter, rank and choose decide; claim, release and heal act."""
