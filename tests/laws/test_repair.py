"""Losing any one is repaired; each owned property, spoiled by hand, is named and repaired; what is the user's own survives."""

import json
from functools import partial
from typing import TYPE_CHECKING

import pytest

from llmlab.aws.launch_template import TAGGED
from llmlab.aws.owned import to_list
from llmlab.errors import LabError
from llmlab.infra.apply import apply
from llmlab.infra.plan import Action, plan, step_for
from tests.laws.conftest import Lab
from tests.laws.spoilers import spoiler, template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmlab.infra.resource import Resource

NETWORK_AND_BUCKETS, ALL_ELSE = "network and buckets", "all else"
SAMPLE = {"VPC", "subnets", "internet gateway", "route table", "S3 endpoint", "security group", "data bucket", "outputs bucket"}
"""The kinds of the network and the buckets, which `make test` takes as its sample; `make test-all` takes all else, too."""
PARTS = [NETWORK_AND_BUCKETS, pytest.param(ALL_ELSE, marks=pytest.mark.slow)]  # some ten seconds of moto for each law
LEAST = {NETWORK_AND_BUCKETS: 30, ALL_ELSE: 60}
"""Fewer owned properties than these no part has."""
LEAST_LOST = {NETWORK_AND_BUCKETS: len(SAMPLE), ALL_ELSE: 28}
"""Fewer resources can be lost of no part: all but what is shared with other labs."""
BY_DECREE = {("schedule group", "owner")}
"""A group without our tags is a stranger's, which `test_strangers` looks at."""


def of(part: str, resource: "Resource") -> bool:
    return (resource.kind in SAMPLE) == (part == NETWORK_AND_BUCKETS)


def test_the_sample_is_of_kinds_that_the_lab_has(lab: Lab) -> None:
    assert {resource.kind for resource in lab.stack()} > SAMPLE


@pytest.mark.parametrize("part", PARTS)
def test_each_property_spoiled_is_named_and_repaired(lab: Lab, part: str) -> None:
    lab.apply()
    seen = 0
    for resource in filter(partial(of, part), lab.stack()):
        for name in resource.desired():
            seen += 1
            if (resource.kind, name) in BY_DECREE:
                continue
            hand = spoiler(resource, name)
            assert hand, f"nothing spoils {name} of {resource.key}"
            hand(resource)
            step = step_for(resource)
            assert [one.property for one in step.differences] == [name], resource.key
            resource.update(step.differs)
            again = step_for(resource)
            assert again.action is Action.KEEP, (resource.key, again.differences)
    assert seen >= LEAST[part]
    assert lab.plan().empty


@pytest.mark.parametrize("part", PARTS)
def test_losing_any_one_is_repaired(lab: Lab, part: str) -> None:
    """With what cannot stand without it, as AWS itself demands."""
    lab.apply()
    seen = 0
    for number, resource in enumerate(lab.stack()):
        if resource.shared or not of(part, resource):
            continue
        fresh = lab.stack()
        lost = _with_dependents(fresh[number], fresh)
        for one in reversed(lost):
            if one.exists():
                one.delete()
        assert not fresh[number].exists()
        planned = plan([one for one in lab.stack() if one.key in {gone.key for gone in lost}])
        assert resource.key in {step.resource.key for step in planned.steps if step.action is Action.CREATE}
        apply(planned)
        seen += 1
    assert seen >= LEAST_LOST[part]
    assert lab.plan().empty


def _with_dependents(resource: "Resource", everything: "Sequence[Resource]") -> "list[Resource]":
    """The resource and all that point at it, in the order of the list."""
    keys = {resource.key}
    for one in everything:
        if keys & {needed.key for needed in one.dependencies()}:
            keys.add(one.key)
    return [one for one in everything if one.key in keys]


@pytest.mark.slow  # two bootstraps
def test_what_the_user_added_survives_a_repair(lab: Lab) -> None:
    """A statement in the bucket's policy, a lifecycle rule, a listener of the topic."""
    lab.apply()
    names, s3, sns = lab.aws.names, lab.aws.s3, lab.aws.client("sns")
    own = {
        "Sid": "Mine",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{names.data_bucket}/secret/*",
    }
    s3.put_bucket_policy(Bucket=names.data_bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [own]}))
    rule = {"ID": "mine", "Filter": {"Prefix": "tmp/"}, "Status": "Enabled", "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle_configuration(Bucket=names.data_bucket, LifecycleConfiguration={"Rules": [rule]})  # type: ignore[list-item]
    topic = names.arn("sns", names.topic)
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="you@example.org")

    changed = {step.resource.key for step in lab.plan().changes}
    assert changed == {f"data bucket {names.data_bucket}"}
    lab.apply()
    assert lab.plan().empty
    statements = json.loads(s3.get_bucket_policy(Bucket=names.data_bucket)["Policy"])["Statement"]
    assert {one["Sid"] for one in statements} == {"Mine", "TlsOnly"}
    rules = s3.get_bucket_lifecycle_configuration(Bucket=names.data_bucket)["Rules"]
    assert {one["ID"] for one in rules} == {"mine", "llmlab-archive", "llmlab-old-versions", "llmlab-stale-uploads"}
    assert len(sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]) == 2


@pytest.mark.slow  # three bootstraps
def test_policies_of_others_on_our_roles_are_drift(lab: Lab) -> None:
    """Attached or inline: shown by name in the plan, and taken off. The attached one is somebody's, and stays in the account."""
    lab.apply()
    names, iam = lab.aws.names, lab.aws.client("iam")
    anything = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})
    arn = iam.create_policy(PolicyName="everything", PolicyDocument=anything)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=names.instance_role, PolicyArn=arn)
    iam.put_role_policy(RoleName=names.instance_role, PolicyName="mine", PolicyDocument=anything)
    (step,) = lab.plan().changes
    assert step.resource.key == f"role {names.instance_role}"
    assert [(one.property, one.now, one.wanted) for one in step.differences] == [("other policies", [arn, "mine"], [])]
    lab.apply()
    assert lab.plan().empty
    assert iam.list_role_policies(RoleName=names.instance_role)["PolicyNames"] == ["llmlab"]
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 0


@pytest.mark.slow  # seconds of moto
def test_what_changes_by_setting_is_an_update(lab: Lab) -> None:
    """Another budget, longer logs, another Ubuntu: the named property of the named resource, and nothing else."""
    lab.apply()
    lab.settings = lab.settings.model_copy(update={"budget": 80.0, "log_days": 90, "ubuntu": "24.04"})
    planned = lab.plan()
    assert [(step.resource.kind, [one.property for one in step.differences]) for step in planned.changes] == [
        ("launch template", ["image"]),
        *[("log group", ["retention days"])] * 4,
        ("budget", ["dollars a month"]),
    ]
    lab.apply()
    assert lab.plan().empty


@pytest.mark.slow  # two bootstraps
def test_a_lab_whose_template_tags_spot_requests_changes_in_the_template_and_in_who_may_start(lab: Lab) -> None:
    """As labs were made once: an on-demand launch from such a template is refused."""
    lab.apply()
    tagged = {"Tags": to_list({**lab.aws.names.tags, "Name": lab.aws.names.launch_template})}
    for one in lab.stack():
        if one.kind == "launch template":
            template(TagSpecifications=[{"ResourceType": kind, **tagged} for kind in (*TAGGED, "spot-instances-request")])(one)
        if one.kind == "role" and one.name == lab.aws.names.watchdog_role:
            then = json.loads(json.dumps(one.desired()["policy"]))
            request = lab.aws.names.arn("ec2", "spot-instances-request/*")
            for statement in then["Statement"]:
                if statement["Sid"] in {"StartTagged", "TagWhatStarts"}:
                    statement["Resource"].append(request)
                if statement["Sid"] == "StartWith":
                    statement["Resource"].remove(request)
            lab.aws.client("iam").put_role_policy(RoleName=one.name, PolicyName="llmlab", PolicyDocument=json.dumps(then))
    changes = [(step.resource.key, [one.property for one in step.differences]) for step in lab.plan().changes]
    names = lab.aws.names
    assert changes == [(f"role {names.watchdog_role}", ["policy"]), (f"launch template {names.launch_template}", ["tags"])]
    lab.apply()
    assert lab.plan().empty


@pytest.mark.slow  # a bootstrap for each resource of the lab
def test_a_change_of_what_was_just_deleted_leaves_nothing_that_is_nobodys(lab: Lab) -> None:
    """A teardown beside a bootstrap: what the bootstrap changes may be gone since it looked, and some calls create what they change."""
    lab.apply()
    made = refused = 0
    for number, resource in enumerate(lab.stack()):
        if resource.shared:
            continue
        fresh = lab.stack()
        for one in reversed(_with_dependents(fresh[number], fresh)):
            if one.exists():
                one.delete()
        try:
            fresh[number].update(resource.desired())
        except LabError:
            refused += 1
        if fresh[number].exists():
            made += 1
            assert fresh[number].ours(), resource.key
        lab.apply()
    assert made >= 2
    assert made + refused < lab.count()
