"""A lab's whole life in a sandbox of its own, seen from AWS's side: every command, both machines of an interrupted run, the watchdog.

What a stranger does to it in between (spoil what is ours, take an instance back) is signed with a key of its own.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from llmlab import stack
from llmlab.aws.policies_boundary import boundary_name
from llmlab.aws.policies_documents import allow, document
from llmlab.aws.session import Aws
from llmlab.clock import SystemClock
from llmlab.config import Settings
from llmlab.contract import COMPLETE, PROJECT, Names, RunKeys, Tag
from llmlab.errors import ExitCode
from llmlab.sandbox.examples import write
from llmlab.sandbox.server import Sandbox
from tests.cli.conftest import CommandLine, Result
from tests.laws.spoilers import spoiler
from tests.laws.test_repair import BY_DECREE
from tests.policies.recording import Call, read
from tests.policies.resources import ACCOUNT, REGION, World
from tests.sandbox.whole_runs import ENDLESS, Lab

NAMES = Names(PROJECT, ACCOUNT, REGION)
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/{boundary_name(NAMES)}"
OPTIONS = {
    "email": "me@example.org",
    "github": "me/repo",
    "github_ids": "1/2",
    "ssh_cidr": "192.0.2.0/24",
    "permissions_boundary": BOUNDARY,
}
STRANGER = "AKIASANDBOXSTRANGER0"
KEYS = {"AKIASANDBOX000000000": "operator", "ASIASANDBOXFUNCTION0": "watchdog", "AKIASANDBOXSCHEDULER": "scheduler"}
"""Access key → whose it is; a machine's keys are made by the sandbox."""
HANG = "#!/bin/bash\nwhile true; do sleep 1000; done\n"
LARGE = 17 << 20
"""Bytes that do not go up in one piece."""
PROGRAM = "#!/bin/sh\nexit 0\n"
"""In place of docker and of Session Manager's plugin, which do their work without the SDK."""


@dataclass
class Recorded:
    """Who called what, and what existed meanwhile."""

    calls: dict[str, list[Call]] = field(default_factory=dict)
    world: World = field(default_factory=World)


class Stranger(Aws):
    """Somebody else in the same account, by the key that signs."""

    def __init__(self) -> None:
        super().__init__("us-east-1", lab=PROJECT)
        self.session._session.set_credentials(STRANGER, "sandbox")


class Life:
    """The commands, in the order of the months a lab lives."""

    def __init__(self, sandbox: Sandbox, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.sandbox, self.folder, self.patch = sandbox, folder, patch
        self.world = World()

    def live(self) -> None:
        for name in ("docker", "session-manager-plugin"):
            program = self.folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(PROGRAM, encoding="utf-8")
            program.chmod(0o755)
        self.patch.setenv("PATH", os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]]))
        lines = [f"{key} = {json.dumps(value)}" for key, value in OPTIONS.items()]
        (self.folder / "llmlab.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.lab = Lab.stocked(self.sandbox, self.folder, self.patch)
        self.stranger = Stranger()
        self.look()
        self.mend()
        self.ask()
        self.train()
        self.overstay()
        self.end()

    def run(self, *arguments: str | Path, stdin: str = "", code: int | None = 0) -> Result:
        """One command; `code` None: however it ends."""
        result = CommandLine()(*arguments, stdin=stdin)
        assert code is None or result.code == code, (arguments, result.err)
        return result

    def mend(self) -> None:
        """Everything ours, spoiled by hand, and put right by the next bootstrap; then what takes another way to be put right."""
        self.run("bootstrap", "--plan", code=ExitCode.DONE)
        for resource in stack.build(Settings(**OPTIONS), self.stranger, SystemClock()):
            for name in resource.desired():
                hand = spoiler(resource, name)
                if (resource.kind, name) not in BY_DECREE and hand:
                    hand(resource)
        self.look()
        self.run("bootstrap", "--yes")
        table = self.reroute()
        self.look()
        self.run("bootstrap", "--yes")
        self.stranger.ec2.delete_route_table(RouteTableId=table)
        self.run("bootstrap", "--plan", code=ExitCode.DONE)

    def reroute(self) -> str:
        """A rule too many, a subnet given to another route table, a default route that leads elsewhere; the other table."""
        ec2: Any = self.stranger.ec2
        ours = [{"Name": "tag:Lab", "Values": [PROJECT]}]
        group = ec2.describe_security_groups(Filters=ours)["SecurityGroups"][0]["GroupId"]
        web = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}
        ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[web])
        found = ec2.describe_route_tables(Filters=ours)["RouteTables"][0]
        other: str = ec2.create_route_table(VpcId=found["VpcId"])["RouteTable"]["RouteTableId"]
        association = next(one["RouteTableAssociationId"] for one in found["Associations"] if "SubnetId" in one)
        ec2.replace_route_table_association(AssociationId=association, RouteTableId=other)
        gateway = ec2.create_vpn_gateway(Type="ipsec.1")["VpnGateway"]["VpnGatewayId"]
        ec2.replace_route(RouteTableId=found["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        return other

    def ask(self) -> None:
        """What only looks, and the tokens."""
        self.run("doctor", code=None)
        self.run("estimate", "--data", "d", "--recipe", "sandbox")
        self.run("launch", "--data", "d", "--recipe", "sandbox", "--spot", "--dry-run")
        for _ in range(2):
            self.run("secret", "set", "hf-token", stdin="hf_" + "x" * 34 + "\n")
        self.stranger.client("secretsmanager").delete_secret(SecretId=NAMES.secret("hf-token"), RecoveryWindowInDays=7)
        self.run("secret", "set", "hf-token", stdin="hf_" + "x" * 34 + "\n")
        self.run("secret", "list")
        asked = CommandLine(environment={"LLMLAB_INSTANCE_TYPES": "p4d.24xlarge"})("doctor", "--request-quota", "--yes")
        assert asked.code == 0, asked.err
        self.run("image", "push")
        shutil.copytree(self.folder / "tiny", self.folder / "large")
        (self.folder / "large" / "notes.json").write_text(json.dumps("x" * LARGE), encoding="utf-8")
        self.run("upload", self.folder / "large", "--model", "large")

    def train(self) -> None:
        """Three runs at once: one interrupted, that goes on with the data of its start; one stopped and resumed; one without a model."""
        lab = self.lab
        run = lab.launch("epochs=30", "save_steps=1000")
        long = lab.launch(ENDLESS, hours=6)
        hub = lab.launch("model=org/model")
        self.save(hub)
        write(self.folder / "data", rows=90)
        self.run("upload", self.folder / "data", "--name", "d")
        lab.until_trained(run, 1)
        assert lab.sandbox.interrupt(run, notice_seconds=5)
        lab.until_trained(long, 1)
        self.run("connect", long, code=None)
        self.run("stop", long)
        lab.marker(run)
        assert len(lab.instances(run)) == 2, "the run was over before it was interrupted"
        lab.marker(hub)
        self.run("resume", "--yes", long)
        self.look()
        for command in ("status", "logs", "report"):
            self.run(command, run)
        self.archive(run)
        self.run("fetch", run, code=None)
        self.run("cost")

    def save(self, run: str) -> None:
        """More checkpoints than stay: the watchdog deletes the oldest."""
        for step in range(1, 6):
            key = RunKeys(run).checkpoint(step) + COMPLETE
            self.stranger.s3.put_object(Bucket=self.stranger.names.outputs_bucket, Key=key, Body=b"")

    def archive(self, run: str) -> None:
        """One file of the run, as the lifecycle rules leave it after half a year."""
        bucket = self.stranger.names.outputs_bucket
        found = self.stranger.s3.list_objects_v2(Bucket=bucket, Prefix=RunKeys(run).output)["Contents"]
        key = min(one["Key"] for one in found)
        self.stranger.s3.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": key}, StorageClass="GLACIER")

    def overstay(self) -> None:
        """An instance that hangs, and has no schedule of its own, past its deadline: the watchdog's hourly sweep ends it."""
        aws: Any = self.stranger.ec2
        now = datetime.fromisoformat(self.sandbox.state()["time"]).timestamp()
        tags = {**self.stranger.names.tags, Tag.RUN: "20260101-000000-aaaa", Tag.ATTEMPT: "1", Tag.DEADLINE: str(int(now) + 600)}
        subnet = aws.describe_subnets(Filters=[{"Name": "tag:Lab", "Values": [PROJECT]}])["Subnets"][0]["SubnetId"]
        answer = aws.run_instances(
            LaunchTemplate={"LaunchTemplateName": self.stranger.names.launch_template},
            InstanceType="g6.xlarge", SubnetId=subnet, MinCount=1, MaxCount=1, UserData=HANG,
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": str(key), "Value": value} for key, value in tags.items()]}],
        )  # fmt: skip
        identity = answer["Instances"][0]["InstanceId"]
        self.look()
        self.sandbox.advance(2 * 3600)

        def gone() -> bool:
            found = aws.describe_instances(InstanceIds=[identity])["Reservations"][0]["Instances"][0]
            return bool(found["State"]["Name"] == "terminated")

        self.lab.until("the watchdog to end an instance", gone)

    def end(self) -> None:
        """While a run is going, and with a policy of the user's own on a role."""
        iam = self.stranger.client("iam")
        own = iam.create_policy(PolicyName="own", PolicyDocument=json.dumps(document([allow("Own", "s3:ListBucket", "*")])))["Policy"][
            "Arn"
        ]
        iam.attach_role_policy(RoleName=NAMES.watchdog_role, PolicyArn=own)
        self.look()
        self.run("teardown", "--yes")
        self.run("teardown", "--everything", "--yes", "--confirm", PROJECT)

    def look(self) -> None:
        """Note what is there, with its tags: what IAM would know beside each request."""
        ec2: Any = self.stranger.ec2
        for page in ec2.get_paginator("describe_tags").paginate():
            for one in page["Tags"]:
                self.world.tags.setdefault(one["ResourceId"], {})[one["Key"]] = one["Value"]
        for one in ec2.describe_launch_templates()["LaunchTemplates"]:
            self.world.templates[one["LaunchTemplateName"]] = one["LaunchTemplateId"]
        for table in ec2.describe_route_tables()["RouteTables"]:
            for one in table["Associations"]:
                if "SubnetId" in one:
                    self.world.associations[one["RouteTableAssociationId"]] = (table["RouteTableId"], one["SubnetId"])
        names = self.stranger.names
        roles = (names.instance_role, names.watchdog_role, names.scheduler_role, names.github_role)
        self.world.boundaries |= dict.fromkeys(roles, BOUNDARY)


def record(folder: Path) -> Iterator[Recorded]:
    """Live it, and tell what was asked of AWS."""
    with pytest.MonkeyPatch.context() as patch:
        recording = folder / "recording"
        patch.setenv("MOTO_ENABLE_RECORDING", "1")
        patch.setenv("MOTO_RECORDER_FILEPATH", str(recording))
        sandbox = Sandbox.start(attached=True)
        try:
            life = Life(sandbox, folder, patch)
            life.live()
        finally:
            sandbox.stop()
    recorded = Recorded(world=life.world)
    for call in read(recording.read_text(encoding="utf-8")):
        if call.key != STRANGER:
            recorded.calls.setdefault(KEYS.get(call.key, "instance"), []).append(call)
    templates = [one for one in recorded.calls["operator"] if one.operation == "CreateLaunchTemplate"]
    recorded.world.template = dict(templates[0].values)
    yield recorded
