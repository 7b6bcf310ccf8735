"""Find a host for each guest and claim it. index, filter, rank and choose decide; claim, release and heal act."""
