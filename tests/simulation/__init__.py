"""A simulator of runs on the spot market: the lab's own programs on a simulated clock, with an account in memory and injected faults.

The watchdog, `ops.start`, the agent and its store are the real ones. Simulated are the clock (`timeline`), AWS (`storage`, `compute`,
`cloud`, and the sandbox's own AWS in `moto_cloud`), machines and their trainer, spot prices and capacity (`traces`), and the faults
(`weather`). A schedule is one simulated history; a seed determines it completely. After each schedule, `invariants` are checked.
"""
