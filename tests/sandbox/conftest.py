"""An `Aws` led into the running sandbox, and launching there."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmlab.aws.session import Aws
from llmlab.clock import SystemClock, wait_until
from llmlab.contract import PROJECT
from llmlab.sandbox.server import Sandbox
from tests.sandbox.whole_runs import Lab

IMAGE_PARAMETER = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
LIMIT_SECONDS = 250
"""Against hanging alone: beside other work everything takes longer."""


@pytest.fixture(scope="session")
def _sandbox_aws() -> Aws:
    """Its clients are made in the tests, when the endpoint is set."""
    return Aws("us-east-1", lab=PROJECT)


@pytest.fixture
def cloud(sandbox: Sandbox, _sandbox_aws: Aws) -> Aws:
    return _sandbox_aws


Launch = Callable[..., str]


@pytest.fixture
def launch(cloud: Aws) -> Launch:
    """Start an instance with a script as its user data; returns its id."""
    iam: Any = cloud.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    iam.create_role(RoleName="instance", AssumeRolePolicyDocument=json.dumps(trust))
    iam.create_instance_profile(InstanceProfileName="instance")
    iam.add_role_to_instance_profile(InstanceProfileName="instance", RoleName="instance")
    ssm: Any = cloud.client("ssm")
    image = ssm.get_parameter(Name=IMAGE_PARAMETER)["Parameter"]["Value"]

    def start(script: str, *, spot: bool = False, instance_type: str = "g6.xlarge", **more: Any) -> str:
        if spot:
            more["InstanceMarketOptions"] = {"MarketType": "spot"}
        ec2: Any = cloud.ec2
        answer = ec2.run_instances(
            ImageId=image,
            InstanceType=instance_type,
            MinCount=1,
            MaxCount=1,
            UserData=f"#!/bin/bash\n{script}\n",
            IamInstanceProfile={"Name": "instance"},
            InstanceInitiatedShutdownBehavior="terminate",
            MetadataOptions={"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Run", "Value": "r-1"}]}],
            **more,
        )
        return str(answer["Instances"][0]["InstanceId"])

    return start


def describe(aws: Aws, instance: str) -> dict[str, Any]:
    found: Any = aws.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    return dict(found)


def until(what: str, check: Callable[[], bool]) -> None:
    assert wait_until(check, SystemClock(), limit_seconds=LIMIT_SECONDS, every_seconds=0.05), f"waited {LIMIT_SECONDS} s for {what}"


def until_state(aws: Aws, instance: str, state: str) -> dict[str, Any]:
    until(f"{instance} to be {state}", lambda: describe(aws, instance)["State"]["Name"] == state)
    return describe(aws, instance)


def console(aws: Aws, instance: str) -> str:
    return aws.ec2.get_console_output(InstanceId=instance).get("Output", "")


def until_said(aws: Aws, instance: str, words: str) -> str:
    until(f"{instance} to say {words}", lambda: words in console(aws, instance))
    return console(aws, instance)


def decode(text: str) -> str:
    return base64.b64decode(text).decode()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A sandbox whose clock is this machine's: the agents read that one."""
    sandbox = Sandbox.start(attached=True)
    with pytest.MonkeyPatch.context() as patch:
        yield Lab.stocked(sandbox, tmp_path_factory.mktemp("lab"), patch)
    sandbox.stop()
