"""The HTTP application: OpenStack's Compute and image APIs, agents, and what those have no words for. One file per noun."""
