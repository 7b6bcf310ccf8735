"""The HTTP application: OpenStack's Compute and image APIs, the agents' API, and `/v1` for the rest. One module per noun."""
