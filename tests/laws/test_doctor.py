"""Each thing that can be wrong with a lab, and what the doctor says of it."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from llmlab.aws import idle_cost
from llmlab.aws.permissions import denied_actions
from llmlab.clock import ManualClock
from llmlab.config import Settings
from llmlab.infra.apply import apply
from llmlab.infra.plan import plan
from llmlab.ops.doctor import Check, Health, doctor
from llmlab.stack import RESOURCES

if TYPE_CHECKING:
    from llmlab.aws.session import Aws

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SETTINGS = Settings(email="me@example.org")


def examine(aws: "Aws", settings: Settings = SETTINGS, now: datetime = NOW) -> dict[str, Check]:
    checks = doctor(settings, aws, ManualClock(now)).checks
    assert len(checks) >= 13
    return {check.name: check for check in checks}


def bootstrap(aws: "Aws") -> None:
    from llmlab import stack

    apply(plan(stack.build(SETTINGS, aws, ManualClock(NOW))))


def test_an_empty_account(lab_aws: "Aws", recorder: list[str]) -> None:
    checks = examine(lab_aws)
    assert checks["resources"].hint == "llmlab bootstrap"
    assert checks["image"].hint == "llmlab bootstrap"
    assert checks["e-mail"].health is Health.FAILED
    assert checks["credentials"].health is Health.OK
    assert not [call for call in recorder if not call.partition(":")[2].startswith(("Describe", "Get", "List", "Simulate"))]


def test_a_lab_without_an_image(lab_aws: "Aws") -> None:
    bootstrap(lab_aws)
    checks = examine(lab_aws)
    assert checks["resources"].health is Health.OK
    assert (checks["image"].health, checks["image"].hint) == (Health.FAILED, "llmlab image push")
    assert checks["e-mail"].health is Health.OK
    assert checks["cost tags"].health is Health.WARNING
    assert [name for name, check in checks.items() if check.health is Health.FAILED] == ["image"]


def test_every_failure_has_a_command(lab_aws: "Aws") -> None:
    settings = Settings(email="me@example.org", instance_types=("p4d.24xlarge",))
    found = [check for check in examine(lab_aws, settings).values() if check.health is Health.FAILED]
    assert {"resources", "image", "e-mail", "quota spot P", "quota on-demand P"} <= {check.name for check in found}
    assert all(check.hint.startswith(("llmlab ", "aws ", "LLMLAB_")) for check in found)


@pytest.mark.parametrize(("now", "health"), [(NOW - timedelta(days=90), "ok"), (NOW, "warning"), (NOW + timedelta(days=365), "failed")])
def test_when_patching_of_the_image_ends(lab_aws: "Aws", now: datetime, health: str) -> None:
    assert examine(lab_aws, now=now)["AMI"].health == health


def test_a_machine_past_its_deadline_and_an_idle_disk(lab_aws: "Aws") -> None:
    tags: Any = [{"Key": key, "Value": value} for key, value in {**lab_aws.names.tags, "Deadline": "1"}.items()]
    image = lab_aws.client("ssm").get_parameter(
        Name="/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
    )
    instance = lab_aws.ec2.run_instances(
        ImageId=image["Parameter"]["Value"], InstanceType="g6.xlarge", MinCount=1, MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )["Instances"][0]["InstanceId"]  # fmt: skip
    volume = lab_aws.ec2.create_volume(
        Size=200, AvailabilityZone="us-east-1a", TagSpecifications=[{"ResourceType": "volume", "Tags": tags}]
    )
    ec2: Any = lab_aws.ec2
    snapshot = ec2.create_snapshot(VolumeId=volume["VolumeId"], TagSpecifications=[{"ResourceType": "snapshot", "Tags": tags}])[
        "SnapshotId"
    ]
    address = ec2.allocate_address(Domain="vpc", TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": tags}])["AllocationId"]
    found = [check for check in doctor(SETTINGS, lab_aws, ManualClock(NOW)).checks if check.name == "leftovers"]
    assert all(check.health is Health.FAILED for check in found)
    assert [(check.message, check.hint) for check in found] == [
        (
            f"instance {instance} is past its deadline, at most $0.80 an hour",
            f"aws ec2 terminate-instances --instance-ids {instance} --region us-east-1",
        ),
        (
            f"volume {volume['VolumeId']} belongs to no machine, about $16.00 a month",
            f"aws ec2 delete-volume --volume-id {volume['VolumeId']} --region us-east-1",
        ),
        (
            f"snapshot {snapshot} belongs to no machine, about $10.00 a month",
            f"aws ec2 delete-snapshot --snapshot-id {snapshot} --region us-east-1",
        ),
        (
            f"elastic address {address} belongs to no machine, about $3.65 a month",
            f"aws ec2 release-address --allocation-id {address} --region us-east-1",
        ),
    ]
    costs = idle_cost.read(lab_aws, RESOURCES, NOW)
    assert {one.name: round(one.monthly, 2) for one in costs.items} == {volume["VolumeId"]: 16.0, snapshot: 10.0, address: 3.65}


def test_permissions_of_who_is_calling(lab_aws: "Aws") -> None:
    assert denied_actions(lab_aws) == []
