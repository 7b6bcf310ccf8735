"""The OpenStack Compute API v2.1, as far as placing CPUs needs it. One file per noun."""
