"""What AWS refuses only for a while is waited for, with a limit and with words; what stays in the way is named at once."""

import json
from contextlib import ExitStack
from typing import Any

import pytest

from llmlab.aws import secrets
from llmlab.aws.permissions import denied_actions
from llmlab.aws.session import AwsError
from llmlab.aws.sns_topic import Subscription
from llmlab.clock import SystemClock
from llmlab.errors import LabError
from llmlab.infra.apply import apply
from llmlab.infra.destroy import destroy
from llmlab.infra.plan import Action, plan, step_for
from llmlab.ops.teardown import teardown
from llmlab.sandbox.completion_lambda import RUNTIME
from llmlab.sandbox.refusals.switch import switched
from tests.laws.conftest import Lab
from tests.laws.refusing import answering, error, refusing

IN_USE = ("DependencyViolation", "The resource has dependencies and cannot be deleted.")


def waited(lab: Lab, since: float) -> float:
    return lab.clock.now().timestamp() - since


def some(lab: Lab, *kinds: str) -> list[Any]:
    """The resources of these kinds, made; a whole lab costs a second."""
    wanted = [one for one in lab.stack() if one.kind in kinds]
    apply(plan(wanted))
    return wanted


NETWORK = ("VPC", "subnets", "internet gateway", "route table", "S3 endpoint", "security group")
DELETIONS = {
    "security group": "DeleteSecurityGroup",
    "route table": "DeleteRouteTable",
    "internet gateway": "DetachInternetGateway",
    "subnets": "DeleteSubnet",
    "VPC": "DeleteVpc",
}


def test_a_deletion_waits_for_what_still_hangs_on_it(lab: Lab) -> None:
    """Network interfaces linger after "terminated": https://github.com/hashicorp/terraform-provider-aws/issues/9495."""
    network = some(lab, *NETWORK)
    since = lab.clock.now().timestamp()
    with ExitStack() as stack:
        refused = [
            stack.enter_context(refusing(lab.aws, "ec2", operation, *IN_USE, times=3))
            for operation in (*DELETIONS.values(), "DeleteInternetGateway")
        ]
        destroy(network)
    assert [len(one) for one in refused] == [3] * 6
    assert not any(one.exists() for one in network)
    assert waited(lab, since) >= 30


@pytest.mark.slow
def test_a_deletion_does_not_wait_for_ever(lab: Lab) -> None:
    network = {one.kind: one for one in some(lab, *NETWORK)}
    network["S3 endpoint"].delete()
    for kind, operation in DELETIONS.items():
        with (
            refusing(lab.aws, "ec2", operation, *IN_USE),
            pytest.raises(LabError, match=f"did not happen within 600 seconds: ec2:{operation} failed") as caught,
        ):
            network[kind].delete()
        assert caught.value.hint == "llmlab teardown"
        network[kind].delete()


def test_somebodys_endpoint_is_named_at_once(lab: Lab) -> None:
    """GuardDuty puts one into every VPC in which an instance ran: https://github.com/hashicorp/terraform-provider-aws/issues/46747."""
    vpc, subnets = some(lab, "VPC", "subnets")
    made = lab.aws.ec2.create_vpc_endpoint(
        VpcEndpointType="Interface",
        VpcId=vpc.need_id(),
        ServiceName="com.amazonaws.us-east-1.guardduty-data",
        TagSpecifications=[{"ResourceType": "vpc-endpoint", "Tags": [{"Key": "GuardDutyManaged", "Value": "true"}]}],
    )["VpcEndpoint"]["VpcEndpointId"]
    since = lab.clock.now().timestamp()
    with refusing(lab.aws, "ec2", "DeleteSubnet", *IN_USE), pytest.raises(LabError) as caught:
        subnets.delete()
    assert caught.value.message.startswith(f"GuardDuty's endpoint {made} (com.amazonaws.us-east-1.guardduty-data) is still in vpc-")
    assert caught.value.hint == f"aws ec2 delete-vpc-endpoints --vpc-endpoint-ids {made} --region us-east-1"
    assert waited(lab, since) < 60


def test_a_group_that_is_not_ours_keeps_the_network(lab: Lab) -> None:
    (vpc,) = some(lab, "VPC")
    group = lab.aws.ec2.create_security_group(GroupName="mine", Description="x", VpcId=vpc.need_id())["GroupId"]
    with refusing(lab.aws, "ec2", "DeleteVpc", *IN_USE), pytest.raises(LabError) as caught:
        vpc.delete()
    assert caught.value.message.startswith("security group mine is still in vpc-")
    assert caught.value.hint == f"aws ec2 delete-security-group --group-id {group} --region us-east-1"


def test_an_endpoint_that_is_going_is_waited_for(lab: Lab) -> None:
    """It blocks what it is in while it is `deleting`: https://github.com/gruntwork-io/cloud-nuke/pull/293."""
    endpoint = next(one for one in some(lab, *NETWORK) if one.kind == "S3 endpoint")
    identity, left = endpoint.need_id(), [4]

    def going(_values: dict[str, Any]) -> dict[str, Any] | None:
        left[0] -= 1
        return {"VpcEndpoints": [{"VpcEndpointId": identity, "State": "deleting" if left[0] < 3 else "available"}]} if left[0] else None

    with answering(lab.aws, "ec2", "DescribeVpcEndpoints", going) as asked:
        endpoint.delete()
    assert len(asked) == 3
    assert not endpoint.exists()


KMS = "Lambda was unable to configure access to your environment variables because the KMS key is invalid for CreateGrant."
"""https://github.com/hashicorp/terraform-provider-aws/issues/4633"""


CANNOT = "The role defined for the function cannot be assumed by Lambda."


def test_a_role_that_lambda_does_not_know_yet(lab: Lab) -> None:
    *_, function = some(lab, "role", "log group", "function")
    function.delete()
    refusal = "InvalidParameterValueException"
    for words in (KMS, CANNOT):
        with refusing(lab.aws, "lambda", "CreateFunction", refusal, words, times=2) as refused:
            function.create()
        assert len(refused) == 2
        with refusing(lab.aws, "lambda", "UpdateFunctionConfiguration", refusal, words, times=2) as refused:
            function.update(function.desired())
        assert len(refused) == 2
        assert function.read() == function.desired()
        function.delete()


def test_a_schedule_group_is_gone_when_its_deletion_returns(lab: Lab) -> None:
    """It remains in `DELETING` until its schedules are: https://docs.aws.amazon.com/scheduler/latest/APIReference/API_DeleteScheduleGroup.html."""
    (group,) = some(lab, "schedule group")
    left = [3]

    def going(_values: dict[str, Any]) -> dict[str, Any] | None:
        left[0] -= 1
        return {"State": "DELETING", "Name": group.name} if left[0] >= 0 else None

    with answering(lab.aws, "scheduler", "GetScheduleGroup", going) as asked:
        group.delete()
    assert len(asked) == 3


@pytest.mark.parametrize("words", ["Schedule group already exists.", "anything else"])
def test_a_schedule_group_waits_for_the_end_of_the_old_one(lab: Lab, words: str) -> None:
    """In whatever words AWS refuses it: the group itself says that it is going."""
    group: Any = next(one for one in lab.stack() if one.kind == "schedule group")
    with (
        answering(lab.aws, "scheduler", "GetScheduleGroup", lambda _: {"State": "DELETING", "Name": group.name}),
        refusing(lab.aws, "scheduler", "CreateScheduleGroup", "ConflictException", words, times=3) as refused,
    ):
        group.create()
    assert len(refused) == 3
    assert group.exists()


def test_a_schedule_group_that_stands_is_not_waited_for(lab: Lab) -> None:
    (group,) = some(lab, "schedule group")
    since = lab.clock.now()
    with pytest.raises(AwsError, match="already exists"):
        group.create()
    assert lab.clock.now() == since


SETTINGS = [
    "CreateBucket", "PutBucketVersioning", "PutBucketEncryption", "PutPublicAccessBlock", "PutBucketOwnershipControls", "PutBucketPolicy",
    "PutBucketLifecycleConfiguration",
]  # fmt: skip


def test_a_bucket_is_given_time(lab: Lab) -> None:
    """S3 makes and deletes buckets in the background: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""
    words = "A conflicting conditional operation is currently in progress against this resource. Please try again."
    bucket = next(one for one in lab.stack() if one.kind == "data bucket")
    with ExitStack() as stack:
        refused = [stack.enter_context(refusing(lab.aws, "s3", operation, "OperationAborted", words, times=2)) for operation in SETTINGS]
        bucket.create()
        bucket.update(bucket.desired())
    assert [len(one) for one in refused] == [2] * 7
    assert bucket.read() == bucket.desired()


def test_a_bucket_that_is_not_seen_yet(lab: Lab) -> None:
    bucket = next(one for one in lab.stack() if one.kind == "data bucket")
    bucket.create()
    words = "The specified bucket does not exist"
    with ExitStack() as stack:
        refused = [stack.enter_context(refusing(lab.aws, "s3", operation, "NoSuchBucket", words, times=2)) for operation in SETTINGS[1:]]
        bucket.update(bucket.desired())
    assert [len(one) for one in refused] == [2] * 6
    assert bucket.read() == bucket.desired()


def test_a_bucket_name_is_not_waited_for_without_end(lab: Lab) -> None:
    bucket = next(one for one in lab.stack() if one.kind == "data bucket")
    with (
        refusing(lab.aws, "s3", "CreateBucket", "OperationAborted", "Please try again."),
        pytest.raises(LabError, match="S3 being done with it did not happen within 120 seconds: s3:CreateBucket failed: Please try again"),
    ):
        bucket.create()


def test_a_secret_right_after_its_removal(lab: Lab) -> None:
    """https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html."""
    words = "You can't create this secret because a secret with this name is already scheduled for deletion."
    with refusing(lab.aws, "secretsmanager", "CreateSecret", "InvalidRequestException", words, times=2) as refused:
        secrets.put(lab.aws, "hf-token", "hf_x", lab.clock)
    assert len(refused) == 2
    assert [one.name for one in secrets.find(lab.aws)] == ["hf-token"]


def test_somebody_who_clicked_unsubscribe(lab: Lab) -> None:
    """SNS lists what is left under the ARN `Deleted`, and ends nothing of that name: https://github.com/snyk/driftctl/issues/601."""
    _, mail = some(lab, "alert topic", Subscription.kind)
    listed = {"SubscriptionArn": "Deleted", "Protocol": "email", "Endpoint": mail.email, "TopicArn": mail.topic.arn, "Owner": ""}
    refused = error("InvalidParameter", "Invalid parameter: SubscriptionArn Reason: An ARN must have at least 6 elements, not 1")
    with (
        answering(lab.aws, "sns", "ListSubscriptionsByTopic", lambda _: {"Subscriptions": [listed]}),
        answering(lab.aws, "sns", "Unsubscribe", lambda _: refused),
    ):
        assert not mail.confirmed
        assert step_for(mail).action is Action.CREATE
        mail.delete()


@pytest.mark.parametrize("operation", ["DescribeNotificationsForBudget", "DescribeSubscribersForNotification"])
def test_a_budget_without_alerts_may_be_answered_with_not_found(lab: Lab, operation: str) -> None:
    *_, budget = some(lab, "alert topic", "budget")
    missing = error("NotFoundException", "Unable to get notification")
    with answering(lab.aws, "budgets", operation, lambda _: missing, region="us-east-1"):
        now = budget.read()
    assert not now["alert at 80 %"]
    assert now["dollars a month"] == 50


def test_a_dashboard_that_cloudwatch_warns_of_is_made(lab: Lab) -> None:
    page: Any = next(one for one in lab.stack() if one.kind == "dashboard")
    warning = {"DashboardValidationMessages": [{"DataPath": "/widgets/0", "Message": "a warning"}]}
    with answering(lab.aws, "cloudwatch", "PutDashboard", lambda _: warning) as asked:
        page.create()
    assert len(asked) == 1


def test_a_function_of_somebodys_that_is_an_image(lab: Lab) -> None:
    """It has neither runtime nor handler."""
    *_, function = some(lab, "role", "log group", "function")
    shown = function.client.get_function(FunctionName=function.name)
    del shown["Configuration"]["Runtime"], shown["Configuration"]["Handler"]
    with answering(lab.aws, "lambda", "GetFunction", lambda _: shown):
        now = function.read()
    assert (now["runtime"], now["handler"]) == (None, None)


def test_whose_permissions_are_simulated_has_its_path(lab: Lab) -> None:
    """Roles of IAM Identity Center have one, which the session's ARN leaves out."""
    iam, path = lab.aws.client("iam"), "/aws-reserved/sso.amazonaws.com/eu-west-1/"
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = iam.create_role(RoleName="AWSReservedSSO_Admin_0123", Path=path, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    who = {"Arn": f"arn:aws:sts::{lab.aws.account}:assumed-role/AWSReservedSSO_Admin_0123/me", "Account": lab.aws.account, "UserId": "x"}
    with (
        answering(lab.aws, "sts", "GetCallerIdentity", lambda _: who),
        answering(lab.aws, "iam", "SimulatePrincipalPolicy", lambda _: {"EvaluationResults": [], "IsTruncated": False}) as asked,
    ):
        assert denied_actions(lab.aws) == []
    assert {one["PolicySourceArn"] for one in asked} == {role}


BAD_DAY = (
    "function-role-not-granted-yet", "bucket-settings-one-after-the-other", "bucket-not-seen-yet", "budget-without-notifications",
    "notification-without-subscribers", "dashboard-made-with-warnings", "interfaces-linger", "endpoint-stays-deleting",
    "route-table-waits-for-its-endpoint", "schedule-group-stays-deleting", "bucket-deleted-a-moment-ago", "secret-being-deleted",
)  # fmt: skip


@pytest.mark.slow  # two bootstraps and a teardown
def test_bootstrap_and_teardown_pass_every_rule_that_waiting_passes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, as a bad day has them; the account goes by the clock that is slept on."""
    monkeypatch.setattr(RUNTIME, "clock", lab.clock)
    lab.clock.time = SystemClock().now()
    with switched(*BAD_DAY):
        lab.apply()
        facts = teardown(lab.settings, lab.aws, lab.clock, everything=True)
        assert facts.clean, facts
        lab.apply()
    assert lab.plan().empty
