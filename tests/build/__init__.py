"""Builders of the values that tests need, each in one line: hosts, requests, fits, guests, threads, definitions, rows of the store."""
