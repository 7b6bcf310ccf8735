"""The watch of one host: sweeps, measuring, metrics and a journal of what changed, without a service and a database."""
