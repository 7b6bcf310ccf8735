"""The fleet's database: hosts, guests, flavors, claims, aggregates. The rows are the truth; notifications are only hints."""
