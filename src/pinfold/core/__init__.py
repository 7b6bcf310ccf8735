"""The pure model of hosts, guests and placements: values in, value out. No I/O, clock, randomness, logging or globals belong here."""
