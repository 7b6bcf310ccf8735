"""The service's hand on one host: register, heartbeat, reconcile, report."""
