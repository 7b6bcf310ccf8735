"""How many vCPUs of production traces fit into their fleet, by how hosts are chosen."""
