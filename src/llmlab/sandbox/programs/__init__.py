"""Programs that the sandbox starts, each a file of its own on the standard library: the keeper of a machine, and what its user data finds there."""
