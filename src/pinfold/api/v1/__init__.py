"""`/v1`: what the Compute API cannot express, such as emulator CPUs, maps, fits with reasons, and drift."""
