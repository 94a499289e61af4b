"""Teardown of a used lab leaves nothing; strangers, and labs with longer names, are untouched."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from llmlab.aws import leftovers
from llmlab.aws.session import Aws, AwsError
from llmlab.contract import LogStream, Names
from llmlab.infra.destroy import DeletionResult, destroy
from llmlab.infra.plan import Action, NotOwned, step_for
from llmlab.ops.teardown import TornDown, teardown
from llmlab.stack import RESOURCES
from tests.account import everything
from tests.laws.conftest import Lab


def test_teardown_of_a_used_lab_leaves_only_results(either: tuple[Lab, int]) -> None:
    lab, count = either
    lab.apply()
    instance = use(lab)
    facts = _teardown(lab, everything=False)
    assert facts.clean, facts
    assert facts.instances == (instance,)
    assert facts.kept == (f"outputs bucket {lab.aws.names.outputs_bucket}",)
    assert len(facts.deleted) == count - (3 if lab.settings.vpc_id else 2) + 2  # not the results nor what is shared, but two secrets
    assert [one.kind for one in leftovers.find(lab.aws, RESOURCES)] == ["outputs bucket"]
    assert lab.aws.s3.get_object(Bucket=lab.aws.names.outputs_bucket, Key="runs/x/SUCCESS")["Body"].read() == b"{}"


def test_everything_leaves_nothing_at_all_and_again_is_no_error(either: tuple[Lab, int]) -> None:
    lab, _ = either
    before = everything(lab.aws)
    lab.apply()
    use(lab)
    assert len(everything(lab.aws)) > len(before) + 25
    assert _teardown(lab, everything=True).clean
    assert leftovers.find(lab.aws, RESOURCES) == []
    assert everything(lab.aws) - {"role AWSServiceRoleForEC2Spot"} == before
    again = _teardown(lab, everything=True)
    assert again.clean
    assert again.deleted == ()


@pytest.mark.slow  # two labs more on moto
def test_teardown_without_the_settings_it_was_made_with(either: tuple[Lab, int]) -> None:
    """From another folder: no llmlab.toml, so neither the VPC, nor the repository, nor the e-mail is known."""
    lab, _ = either
    lab.apply()
    lab.settings = type(lab.settings)()
    assert _teardown(lab, everything=True).clean
    assert leftovers.find(lab.aws, RESOURCES) == []


@pytest.mark.slow  # a lab more on moto
def test_teardown_after_a_teardown_that_died(lab: Lab) -> None:
    lab.apply()
    for resource in list(lab.stack())[::-1][::3]:
        if not resource.shared and resource.kind not in {"VPC", "subnets", "route table", "security group", "role", "log group"}:
            resource.delete()
    assert _teardown(lab, everything=True).clean
    assert leftovers.find(lab.aws, RESOURCES) == []


@pytest.mark.slow  # four bootstraps and two teardowns
def test_a_lab_with_a_longer_name_is_untouched(lab: Lab) -> None:
    other = Lab(Aws(lab.aws.region, lab=f"{lab.aws.lab}-two"), lab.settings, lab.clock, lab.calls)
    lab.apply()
    other.apply()
    use(other)
    assert lab.plan().empty
    assert _teardown(lab, everything=True).clean
    planned = other.plan()
    assert len(planned.steps) == other.count()
    assert [step.resource.key for step in planned.changes] == []
    lab.apply()
    assert _teardown(other, everything=True).clean
    assert lab.plan().empty


@dataclass(frozen=True)
class Foreign(Names):
    """The same names, but somebody else's tags."""

    @property
    def tags(self) -> dict[str, str]:
        return {"Project": "somebody-else"}


FOUND_BY_TAG = {"VPC", "subnets", "internet gateway", "route table", "S3 endpoint"}
"""These have no name a stranger could take: one of ours is made beside it."""
TAKEN_AS_IT_IS = {"OIDC provider", "service-linked role", "alert e-mail"}
UNDER_ANOTHER = {"function permission"}
"""It carries no tags: whose it is is whose function it belongs to."""


@pytest.mark.slow  # a stranger of each kind
def test_strangers_are_refused_at_plan_time_and_never_deleted(lab: Lab) -> None:
    stranger = Lab(Aws(lab.aws.region, lab=lab.aws.lab), lab.settings, lab.clock, lab.calls)
    stranger.aws.__dict__["names"] = Foreign(lab.aws.lab, lab.aws.account, lab.aws.region)
    stack = stranger.stack()
    for resource in stack:
        if resource.kind == "dashboard":
            stranger.aws.client("cloudwatch").put_dashboard(DashboardName=resource.name, DashboardBody='{"widgets": []}')
        else:
            resource.create()
    before = everything(lab.aws)
    refused = 0
    for mine in lab.stack():
        if mine.kind in FOUND_BY_TAG:
            assert step_for(mine).action is Action.CREATE, mine.key
        elif mine.kind in TAKEN_AS_IT_IS:
            assert step_for(mine).action is Action.KEEP, mine.key
        elif mine.kind in UNDER_ANOTHER or mine.read() == mine.desired():  # the very same as ours would be: nothing would be changed
            assert not mine.ours()
            refused += 1
        elif mine.kind == "security group":
            continue  # in a network of its own: not in the way
        else:
            with pytest.raises(NotOwned) as caught:
                step_for(mine)
            assert caught.value.hint
            refused += 1
    assert refused == lab.count() - len(FOUND_BY_TAG) - len(TAKEN_AS_IT_IS) - 1
    removals = destroy(lab.stack(), everything=True)
    assert {one.fate for one in removals} <= {DeletionResult.ABSENT, DeletionResult.NOT_OURS, DeletionResult.RETAINED}
    assert everything(lab.aws) == before
    facts = _teardown(lab, everything=True)
    assert facts.clean, facts.left
    assert len(facts.strangers) >= refused
    assert facts.deleted == ()
    assert everything(lab.aws) == before


def _teardown(lab: Lab, *, everything: bool) -> TornDown:
    return teardown(lab.settings, lab.aws, lab.clock, everything=everything)


def use(lab: Lab) -> str:
    """What a lab holds after a week: data in versions, an image, logs, a deadline, a token, an instance. Returns the instance's id."""
    aws, names = lab.aws, lab.aws.names
    for bucket in (names.data_bucket, names.outputs_bucket):
        for number in range(3):
            aws.s3.put_object(Bucket=bucket, Key="runs/x/SUCCESS", Body=b"{}")
            aws.s3.put_object(Bucket=bucket, Key=f"datasets/a/{number}", Body=b"x")
        aws.s3.delete_object(Bucket=bucket, Key="datasets/a/0")
        aws.s3.create_multipart_upload(Bucket=bucket, Key="datasets/a/half")
    aws.client("ecr").put_image(repositoryName=names.repository, imageManifest=_manifest(), imageTag="latest")
    for stream in LogStream:
        aws.client("logs").create_log_stream(logGroupName=names.log_group(stream), logStreamName="x/1")
    role = {
        "Arn": names.arn("lambda", f"function:{names.watchdog}"),
        "RoleArn": f"arn:aws:iam::{names.account}:role/{names.scheduler_role}",
    }
    aws.client("scheduler").create_schedule(
        GroupName=names.schedule_group,
        Name="x-1",
        ScheduleExpression="at(2026-12-01T00:00:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=role,
    )
    tags = [{"Key": key, "Value": value} for key, value in names.tags.items()]
    for name in ("hf-token", "webhook-url"):
        aws.client("secretsmanager").create_secret(Name=names.secret(name), SecretString="x", Tags=tags)
    image = aws.client("ssm").get_parameter(
        Name="/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
    )
    group: Any = next(one for one in lab.stack() if one.kind == "security group")
    started = aws.ec2.run_instances(
        ImageId=image["Parameter"]["Value"], InstanceType="g6.xlarge", MinCount=1, MaxCount=1,
        SecurityGroupIds=[group.need_id()], SubnetId=_subnet(lab),
        TagSpecifications=[{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],  # type: ignore[misc]
    )  # fmt: skip
    return str(started["Instances"][0]["InstanceId"])


def _subnet(lab: Lab) -> str:
    from llmlab.aws.existing_network import zones_of

    return next(iter(zones_of(lab.aws, lab.settings.subnet_ids).values()))


def _manifest() -> str:
    import json

    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 1, "digest": "sha256:" + "0" * 64}
    return json.dumps(
        {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "config": config, "layers": []}
    )


ODD_KEYS = (
    "runs/x/output/\x1b]0;title\x07", "runs/x/output/a\x00b", "runs/x/output/\ufffe", "a b+c%2F&<>\"'",
    "line\nfeed\rreturn", "\u0085", "../..", "/", "//a/./..",
    "x" * 1024,
)  # fmt: skip


@pytest.mark.slow  # a bootstrap and a teardown
def test_a_bucket_with_keys_that_no_xml_can_carry_goes(lab: Lab) -> None:
    """Whatever a container named its files; older versions, delete markers and unfinished uploads of them included."""
    lab.apply()
    s3, bucket = lab.aws.s3, lab.aws.names.outputs_bucket
    for key in ODD_KEYS:
        for _ in range(2):
            s3.put_object(Bucket=bucket, Key=key, Body=b"")
        s3.delete_object(Bucket=bucket, Key=key)
        with suppress(AwsError):  # the answer names the key, and is no XML either
            s3.create_multipart_upload(Bucket=bucket, Key=key)
    facts = _teardown(lab, everything=True)
    assert facts.clean, facts
    assert leftovers.find(lab.aws, RESOURCES) == []
