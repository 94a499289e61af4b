"""The check of every minute: instances past their deadline are terminated, by EC2's description alone.

It is the last safeguard and depends on nothing but EC2: no document, bucket, schedule or topic can keep it from its work, and an error of
one instance does not affect another.
"""

from typing import Any

from llmlab.clock import Clock
from llmlab.contract import Names
from llmlab.lifecycle import instances
from llmlab.watchdog.dependencies import Log
from llmlab.watchdog.guard import Guard


def look(ec2: Any, names: Names, max_hours: float, clock: Clock, log: Log) -> None:
    """Terminate every live instance of the lab that is past its deadline; without a deadline tag that is `max_hours` after launch.

    Raises:
        Exception: the error of the first instance that could not be terminated; the others were.
    """
    living = {"Name": "instance-state-name", "Values": sorted(instances.ALIVE)}
    guard = Guard(log)
    for item in instances.describe(ec2, [*instances.tag_filters(names.tags), living]):
        with guard.each(instance=item.get("InstanceId")):
            instance = instances.parse(item)
            if clock.now().timestamp() >= instance.deadline(max_hours):
                ec2.terminate_instances(InstanceIds=[instance.id])
                log("terminated", run=instance.run, instance=instance.id, why="its deadline has come")
    guard.end()
