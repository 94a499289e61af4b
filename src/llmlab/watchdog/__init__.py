"""The watchdog: a Lambda function that ends what must end and starts again what was interrupted.

It is woken every hour, at each deadline, and by EC2's events. It remembers nothing: what it knows of a run it reads from the outputs
bucket and from EC2 each time, and what it decides it writes with conditions, so that events may come twice, late or in any order.
"""
