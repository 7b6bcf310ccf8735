"""The OpenStack Compute API v2.1, as far as the placement of CPUs needs it. One module per noun."""
