"""Programs that the sandbox starts, each a file of its own: the keeper of a machine, and what its user data finds there."""
