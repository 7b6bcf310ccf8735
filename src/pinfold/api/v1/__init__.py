"""What the Compute API has no words for: emulator CPUs, maps, fits with reasons, drift."""
