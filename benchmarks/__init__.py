"""Benchmarks: ratios taken in one run, never timed tests."""
