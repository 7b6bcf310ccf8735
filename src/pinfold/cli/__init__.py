"""The command line: one file per command group, each a thin program around the other layers."""
