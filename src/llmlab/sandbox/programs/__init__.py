"""Programs that the sandbox starts, one file each: a machine's keeper, and the stand-ins for commands that its user data calls."""
