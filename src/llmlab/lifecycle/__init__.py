"""What the laptop, the function and the agent all do to a run, once: with the standard library and a client of boto3 that is handed in.

It ships in the watchdog's zip. Errors are those of the client: each caller has words of its own for them.
"""
