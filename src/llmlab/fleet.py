"""Which pools, in which order, and the CreateFleet request. Pure and stdlib only, so that launch and watchdog share it."""
