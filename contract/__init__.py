"""The maintainer's tool: imports the contract, generates the package, and finds where the two differ."""
