"""Fill a fleet that does not exist: how many guests fit, by emulator policy and overhead pool. The service's scheduler decides."""
