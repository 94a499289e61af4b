"""The parts of the plan, one question a file; each is `run(job, tell)` and runs in a process of its own."""
