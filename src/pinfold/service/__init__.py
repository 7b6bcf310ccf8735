"""What the service does, a module or package for each noun: guests, claims, hosts, healing. `scheduler` decides, `store` keeps the rows."""
