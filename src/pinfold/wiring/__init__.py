"""The composition roots: one module per process."""
