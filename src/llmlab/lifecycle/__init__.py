"""Operations on a run that the laptop, the watchdog and the agent share, with the standard library and a boto3 client passed in.

It ships in the watchdog's zip. Errors are those of the client: each caller has its own messages for them.
"""
