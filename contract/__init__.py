"""The maintainer's tool: what the contract says, what the generated package does, and where the two differ."""
