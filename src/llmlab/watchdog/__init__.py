"""The watchdog: a Lambda function that terminates instances that must end and resumes interrupted runs.

It is invoked every hour, at each deadline, and by EC2's events. It keeps no state: it reads each run from the outputs bucket and from EC2
every time, and writes its decisions with conditions, so that events may come twice, late or in any order.
"""
