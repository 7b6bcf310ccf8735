"""What the fleet remembers: hosts, guests, flavors, claims, aggregates. Rows are the truth; notifications are hints."""
