"""From a request to a claim over many hosts: index, filter, fit, rank, choose, claim; and healing."""
