"""A month of spot market in a second: the lab's own programs on a simulated clock, an account in this process, and everything going wrong.

The watchdog, `ops.start`, the agent and its store are the real ones; what stands in for the world is here: the clock (`timeline`), AWS
(`storage`, `compute`, `control`, and the sandbox's own AWS in `moto_cloud`), machines and their trainer, the market, and what fails
(`weather`). One seed is one schedule, always the same one; after each, `invariants` says what did not hold.
"""
