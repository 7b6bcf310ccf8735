"""How many guests one shared pCPU carries, by what they do."""
