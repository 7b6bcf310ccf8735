"""The routes for agents. Each agent's token opens them for one host only."""
