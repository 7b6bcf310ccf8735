"""The routes that agents use, each with a token that opens one host."""
