"""The look of every minute: what is past its deadline ends, by EC2's word alone.

It is the last of the guards and shares with the others what it must: EC2. No document, bucket, schedule or topic has a part in it, so that
none of them can be in its way; and no instance is in the way of another.
"""

from typing import Any

from llmlab.clock import Clock
from llmlab.contract import Names
from llmlab.watchdog import machines
from llmlab.watchdog.guard import Guard
from llmlab.watchdog.tools import Log


def look(ec2: Any, names: Names, max_hours: float, clock: Clock, log: Log) -> None:
    """End every living instance of the lab that is past its deadline; one that tells none has `max_hours`.

    Raises:
        Exception: of the first instance that could not be ended; the others were.
    """
    tags = [{"Name": f"tag:{key}", "Values": [value]} for key, value in names.tags.items()]
    living = {"Name": "instance-state-name", "Values": sorted(machines.LIVE)}
    guard = Guard(log)
    for page in ec2.get_paginator("describe_instances").paginate(Filters=[*tags, living]):
        for item in (item for reservation in page["Reservations"] for item in reservation["Instances"]):
            with guard.each(instance=item.get("InstanceId")):
                instance = machines.read(item)
                if clock.now().timestamp() >= instance.deadline(max_hours):
                    ec2.terminate_instances(InstanceIds=[instance.id])
                    log("terminated", run=instance.run, instance=instance.id, why="its deadline has come")
    guard.end()
