"""The service's rows: hosts, guests, claims, owners of pCPUs."""
