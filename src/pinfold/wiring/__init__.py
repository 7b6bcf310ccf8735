"""The composition roots: one file per process."""
