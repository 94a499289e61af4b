"""An instance whose user data hangs is ended at its deadline by each of the layers alone, on the sandbox's clock.

Slow: a whole lab is made, with the real watchdog in it.
"""

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import llmlab
from llmlab.aws.session import Aws
from llmlab.contract import Tag
from llmlab.sandbox.server import Sandbox
from tests.sandbox.conftest import describe, until_state

pytestmark = pytest.mark.slow

HOURS = 2
BEFORE = 1500.0
"""Seconds before the deadline at which it still lives: many, because the sandbox's clock goes on while a busy machine gets there."""
HANG = "#!/bin/bash\ntrap '' TERM\nwhile true; do sleep 1000; done\n"
TIMER = "#!/bin/bash\nsystemd-run --unit=deadline --on-active={seconds}s systemctl poweroff\nwhile true; do sleep 1000; done\n"


@pytest.fixture
def lab(cloud: Aws, project: Path) -> Aws:
    environment = {**os.environ, "PYTHONPATH": str(Path(llmlab.__file__).parents[1])}
    command = [sys.executable, "-m", "llmlab", "bootstrap", "--yes", "--budget", "50"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    return cloud


def start(aws: Aws, sandbox: Sandbox, script: str) -> tuple[str, float]:
    """An instance of the lab with its deadline tag; returns its id and the deadline."""
    names = aws.names
    deadline = datetime.fromisoformat(sandbox.state()["time"]).timestamp() + HOURS * 3600
    subnet = aws.ec2.describe_subnets(Filters=[{"Name": "tag:Lab", "Values": [names.lab]}])["Subnets"][0]
    tags = {**names.tags, Tag.RUN: "20260101-000000-aaaa", Tag.ATTEMPT: "1", Tag.DEADLINE: str(int(deadline))}
    ec2: Any = aws.ec2
    answer = ec2.run_instances(
        LaunchTemplate={"LaunchTemplateName": names.launch_template},
        InstanceType="g6.xlarge",
        SubnetId=subnet["SubnetId"],
        MinCount=1,
        MaxCount=1,
        UserData=script,
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": str(key), "Value": value} for key, value in tags.items()]}],
    )
    instance = str(answer["Instances"][0]["InstanceId"])
    until_state(aws, instance, "running")
    return instance, deadline


def silence(aws: Aws, *rules: str) -> None:
    """Take away what calls the watchdog by the clock."""
    for rule in rules:
        aws.client("events").disable_rule(Name=f"{aws.lab}-{rule}")


def test_its_own_timer(lab: Aws, sandbox: Sandbox) -> None:
    silence(lab, "sweep", "overdue")
    instance, _ = start(lab, sandbox, TIMER.format(seconds=HOURS * 3600))
    until_timer(sandbox)
    sandbox.advance(HOURS * 3600 - BEFORE)
    assert describe(lab, instance)["State"]["Name"] == "running"
    sandbox.advance(BEFORE + 1)
    assert until_state(lab, instance, "terminated")["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def until_timer(sandbox: Sandbox) -> None:
    from tests.sandbox.conftest import until

    until("the timer to be set", lambda: any(one["timers"] for one in sandbox.state()["machines"]))


def test_the_one_time_schedule(lab: Aws, sandbox: Sandbox) -> None:
    silence(lab, "sweep", "overdue")
    instance, deadline = start(lab, sandbox, HANG)
    schedules: Any = lab.client("scheduler")
    moment = datetime.fromtimestamp(deadline, tz=datetime.fromisoformat(sandbox.state()["time"]).tzinfo)
    schedules.create_schedule(
        Name="20260101-000000-aaaa-1",
        GroupName=lab.names.schedule_group,
        ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        ActionAfterCompletion="DELETE",
        Target={
            "Arn": "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances",
            "RoleArn": f"arn:aws:iam::{lab.account}:role/{lab.names.scheduler_role}",
            "Input": json.dumps({"InstanceIds": [instance]}),
        },
    )
    sandbox.advance(HOURS * 3600 - BEFORE)
    assert describe(lab, instance)["State"]["Name"] == "running"
    sandbox.advance(BEFORE + 2)
    assert until_state(lab, instance, "terminated")["StateReason"]["Code"] == "Client.UserInitiatedShutdown"


def test_the_watchdog(lab: Aws, sandbox: Sandbox) -> None:
    """Its sweep is hourly, and its first one after the deadline finds the instance."""
    silence(lab, "overdue")
    instance, _ = start(lab, sandbox, HANG)
    sandbox.advance(3700)
    assert describe(lab, instance)["State"]["Name"] == "running"
    sandbox.advance(3700)
    assert until_state(lab, instance, "terminated")["StateReason"]["Code"] == "Client.UserInitiatedShutdown"


def test_the_look_of_every_minute(lab: Aws, sandbox: Sandbox) -> None:
    """With the deadlines' group and their role gone, and the sweep silent."""
    silence(lab, "sweep")
    instance, _ = start(lab, sandbox, HANG)
    lab.client("scheduler").delete_schedule_group(Name=lab.names.schedule_group)
    iam: Any = lab.client("iam")
    iam.delete_role_policy(RoleName=lab.names.scheduler_role, PolicyName="llmlab")
    iam.delete_role(RoleName=lab.names.scheduler_role)
    sandbox.advance(HOURS * 3600 - BEFORE)
    assert describe(lab, instance)["State"]["Name"] == "running"
    sandbox.advance(BEFORE + 60)
    assert until_state(lab, instance, "terminated")["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
