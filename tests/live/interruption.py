"""A spot interruption as EC2 makes one on request, by the Fault Injection Service.

https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html#send-spot-instance-interruptions
"""

import json
from typing import Any

from llmlab.clock import wait_until
from tests.live.ground import PROBE, Ground
from tests.live.probes import TAGS, said

ACTION = "aws:ec2:send-spot-instance-interruptions"
NOTICE = "PT2M"
"""The shortest that AWS takes, and the notice of a real interruption."""
SANDBOX_NOTICE = "PT5S"


def interrupt(ground: Ground, run: str) -> str:
    """Interrupt the run's instance; says by what. Where the service does not do it, the instance is terminated, which is a loss."""
    (instance,) = living(ground, run)
    iam, fis = ground.aws.client("iam"), ground.aws.client("fis")
    trust = {"Effect": "Allow", "Principal": {"Service": "fis.amazonaws.com"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": "ec2:SendSpotInstanceInterruptions", "Resource": "arn:aws:ec2:*:*:instance/*"}
    role = iam.create_role(RoleName=PROBE, AssumeRolePolicyDocument=_policy(trust), Tags=TAGS)["Role"]["Arn"]  # type: ignore[arg-type]
    iam.put_role_policy(RoleName=PROBE, PolicyName="interrupt", PolicyDocument=_policy(may))
    template = _template(ground, role, instance)
    made: dict[str, Any] = {}
    try:
        wait_until(
            lambda: said(lambda: made.update(fis.create_experiment_template(**template))) == "accepted",
            ground.clock, limit_seconds=60, every_seconds=5,
        )  # fmt: skip
        identity = made["experimentTemplate"]["id"] if made else ""
        answer = said(fis.start_experiment, experimentTemplateId=identity) if identity else "no template"
        if identity:
            said(fis.delete_experiment_template, id=identity)
    finally:
        iam.delete_role_policy(RoleName=PROBE, PolicyName="interrupt")
        iam.delete_role(RoleName=PROBE)
    if answer == "accepted":
        return "interrupted by the Fault Injection Service"
    ground.aws.ec2.terminate_instances(InstanceIds=[instance])
    return f"terminated, because the Fault Injection Service answered {answer}"


def living(ground: Ground, run: str) -> list[str]:
    filters: Any = [{"Name": "tag:Run", "Values": [run]}, {"Name": "instance-state-name", "Values": ["pending", "running"]}]
    return [one["InstanceId"] for each in ground.aws.ec2.describe_instances(Filters=filters)["Reservations"] for one in each["Instances"]]


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _template(ground: Ground, role: str, instance: str) -> dict[str, Any]:
    arn = f"arn:aws:ec2:{ground.aws.region}:{ground.aws.account}:instance/{instance}"
    return {
        "clientToken": f"{PROBE}-{ground.clock.now():%H%M%S}",
        "description": "one interruption for a live check",
        "roleArn": role,
        "stopConditions": [{"source": "none"}],
        "targets": {"one": {"resourceType": "aws:ec2:spot-instance", "resourceArns": [arn], "selectionMode": "ALL"}},
        "actions": {
            "interrupt": {
                "actionId": ACTION,
                "parameters": {"durationBeforeInterruption": SANDBOX_NOTICE if ground.sandbox else NOTICE},
                "targets": {"SpotInstances": "one"},
            }
        },
    }
