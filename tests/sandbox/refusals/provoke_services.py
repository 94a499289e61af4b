"""Rows of the services but EC2, provoked."""

import json
from typing import Any

from llmlab.aws.session import Aws
from llmlab.clock import ManualClock
from llmlab.sandbox.completion_delays import DELAY
from llmlab.sandbox.refusals.switch import switched
from tests.sandbox.refusals.provocations import once, provokes


def role(aws: Aws, name: str = "new") -> str:
    return aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]


def make_function(aws: Aws, arn: str, name: str = "f", **more: Any) -> None:
    asked: Any = {"FunctionName": name, "Role": arn, "Runtime": "python3.12", "Handler": "h.h", "Code": {"ZipFile": b"zip"}, **more}
    aws.client("lambda").create_function(**asked)


def make_schedule(aws: Aws, arn: str, expression: str = "rate(1 hour)", **more: Any) -> None:
    target: Any = {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:f", "RoleArn": arn}
    aws.client("scheduler").create_schedule(
        Name="s", ScheduleExpression=expression, FlexibleTimeWindow={"Mode": "OFF"}, Target=target, **more
    )


@provokes("role-not-in-the-profile")
def _(aws: Aws, clock: ManualClock) -> None:
    iam = aws.client("iam")
    iam.create_instance_profile(InstanceProfileName="p")
    iam.remove_role_from_instance_profile(InstanceProfileName="p", RoleName="r")


@provokes("service-linked-role-exists")
def _(aws: Aws, clock: ManualClock) -> None:
    for _ in range(2):
        aws.client("iam").create_service_linked_role(AWSServiceName="spot.amazonaws.com")


@provokes("function-role-not-assumable-yet")
def _(aws: Aws, clock: ManualClock) -> None:
    DELAY.seconds = 30
    make_function(aws, role(aws))


@provokes("scheduler-role-not-assumable-yet")
def _(aws: Aws, clock: ManualClock) -> None:
    DELAY.seconds = 30
    make_schedule(aws, role(aws))


@provokes("schedule-group-exists")
def _(aws: Aws, clock: ManualClock) -> None:
    for _ in range(2):
        aws.client("scheduler").create_schedule_group(Name="g")


@provokes("schedule-group-missing")
def _(aws: Aws, clock: ManualClock) -> None:
    make_schedule(aws, role(aws), GroupName="g")


@provokes("schedule-expression-unreadable")
def _(aws: Aws, clock: ManualClock) -> None:
    make_schedule(aws, role(aws), "every hour")


def subscriptions(aws: Aws) -> list[str]:
    """The ARNs under which an address that is subscribed is listed."""
    sns = aws.client("sns")
    topic = sns.create_topic(Name="t")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="me@example.org")
    return [one["SubscriptionArn"] for one in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]]


@provokes("unsubscribed-by-a-click")
def _(aws: Aws, clock: ManualClock) -> bool:
    return subscriptions(aws) == ["Deleted"]


@provokes("unsubscribe-without-an-arn")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.client("sns").unsubscribe(SubscriptionArn="Deleted")


@provokes("keys-that-xml-has-not")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.s3.create_bucket(Bucket="bucket")
    aws.s3.put_object(Bucket="bucket", Key="\x1b")
    aws.s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "\x1b"}]})


@provokes("more-than-a-thousand-deletions")
def _(aws: Aws, clock: ManualClock) -> None:
    aws.s3.create_bucket(Bucket="bucket")
    aws.s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": str(number)} for number in range(1001)]})


@provokes("profile-holds-a-role")
def _(aws: Aws, clock: ManualClock) -> None:
    iam = aws.client("iam")
    iam.create_instance_profile(InstanceProfileName="p")
    for name in ("one", "other"):
        role(aws, name)
        iam.add_role_to_instance_profile(InstanceProfileName="p", RoleName=name)


def policy(characters: int) -> str:
    frame = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::"}]})
    return frame.replace(":::", ":::" + "b" * (characters - len(frame.replace(" ", ""))))


@provokes("inline-policies-too-long")
def _(aws: Aws, clock: ManualClock) -> None:
    role(aws)
    for characters in (10_240, 10_241):
        aws.client("iam").put_role_policy(RoleName="new", PolicyName="p", PolicyDocument=policy(characters))


@provokes("managed-policy-too-long")
def _(aws: Aws, clock: ManualClock) -> None:
    for number, characters in enumerate((6_144, 6_145)):
        aws.client("iam").create_policy(PolicyName=f"p{number}", PolicyDocument=policy(characters))


@provokes("role-with-a-profile")
def _(aws: Aws, clock: ManualClock) -> None:
    iam = aws.client("iam")
    role(aws)
    iam.create_instance_profile(InstanceProfileName="p")
    iam.add_role_to_instance_profile(InstanceProfileName="p", RoleName="new")
    iam.delete_role(RoleName="new")


@provokes("function-role-not-granted-yet")
def _(aws: Aws, clock: ManualClock) -> None:
    DELAY.seconds = 5
    arn = role(aws)
    clock.sleep(6)
    make_function(aws, arn)
    make_function(aws, arn, "g", Environment={"Variables": {"LAB": "l"}})


@provokes("e-mail-unconfirmed")
def _(aws: Aws, clock: ManualClock) -> bool:
    return subscriptions(aws) == ["PendingConfirmation"]


@provokes("topic-with-other-tags")
def _(aws: Aws, clock: ManualClock) -> None:
    for value in ("p", "p", "other"):
        aws.client("sns").create_topic(Name="t", Tags=[{"Key": "Project", "Value": value}])


@provokes("schedule-group-stays-deleting")
def _(aws: Aws, clock: ManualClock) -> None:
    scheduler = aws.client("scheduler")
    for pause in (21, 19):
        scheduler.create_schedule_group(Name="g")
        scheduler.delete_schedule_group(Name="g")
        clock.sleep(pause)
    scheduler.create_schedule_group(Name="g")


@provokes("schedule-group-reads-deleting")
def _(aws: Aws, clock: ManualClock) -> bool:
    scheduler = aws.client("scheduler")
    scheduler.create_schedule_group(Name="g")
    scheduler.delete_schedule_group(Name="g")
    with switched("schedule-group-stays-deleting"):
        return scheduler.get_schedule_group(Name="g")["State"] == "DELETING"


BUDGET: Any = {"BudgetName": "b", "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": {"Amount": "50", "Unit": "USD"}}


def budgets(aws: Aws, region: str = "us-east-1") -> Any:
    return aws.client("budgets", region=region)


@provokes("budget-without-notifications")
def _(aws: Aws, clock: ManualClock) -> None:
    budgets(aws).create_budget(AccountId=aws.account, Budget=BUDGET)
    budgets(aws).describe_notifications_for_budget(AccountId=aws.account, BudgetName="b")


@provokes("notification-without-subscribers")
def _(aws: Aws, clock: ManualClock) -> None:
    notification: Any = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80.0}
    budgets(aws).create_budget(AccountId=aws.account, Budget=BUDGET)
    budgets(aws).describe_subscribers_for_notification(AccountId=aws.account, BudgetName="b", Notification=notification)


@provokes("budgets-are-global")
def _(aws: Aws, clock: ManualClock) -> bool:
    budgets(aws).create_budget(AccountId=aws.account, Budget=BUDGET)
    return [one["BudgetName"] for one in budgets(aws, "eu-west-1").describe_budgets(AccountId=aws.account)["Budgets"]] == ["b"]


@provokes("dashboard-made-with-warnings")
def _(aws: Aws, clock: ManualClock) -> bool:
    cloudwatch = aws.client("cloudwatch")
    warned = cloudwatch.put_dashboard(DashboardName="d", DashboardBody='{"widgets": []}')["DashboardValidationMessages"]
    return bool(warned and cloudwatch.get_dashboard(DashboardName="d")["DashboardBody"])


@provokes("dashboards-are-global")
def _(aws: Aws, clock: ManualClock) -> bool:
    aws.client("cloudwatch").put_dashboard(DashboardName="d", DashboardBody='{"widgets": []}')
    elsewhere = aws.client("cloudwatch", region="eu-west-1")
    seen = [one["DashboardName"] for one in elsewhere.list_dashboards()["DashboardEntries"]]
    elsewhere.delete_dashboards(DashboardNames=["d"])
    return seen == ["d"] and aws.client("cloudwatch").list_dashboards()["DashboardEntries"] == []


def ask_costs(aws: Aws) -> Any:
    return aws.client("ce", region="us-east-1")


@provokes("cost-explorer-never-opened")
def _(aws: Aws, clock: ManualClock) -> None:
    period: Any = {"Start": "2026-11-01", "End": "2026-11-24"}
    ask_costs(aws).get_cost_and_usage(TimePeriod=period, Granularity="MONTHLY", Metrics=["UnblendedCost"])


ACTIVE: Any = [{"TagKey": "Project", "Status": "Active"}]


@provokes("cost-tags-of-a-member")
def _(aws: Aws, clock: ManualClock) -> None:
    ask_costs(aws).update_cost_allocation_tags_status(CostAllocationTagsStatus=ACTIVE)


@provokes("cost-tags-not-listed-yet")
def _(aws: Aws, clock: ManualClock) -> bool:
    early = ask_costs(aws).list_cost_allocation_tags(TagKeys=["Project"])["CostAllocationTags"]
    clock.sleep(86401)
    return early == [] != ask_costs(aws).list_cost_allocation_tags(TagKeys=["Project"])["CostAllocationTags"]


@provokes("cost-tags-not-known-yet")
def _(aws: Aws, clock: ManualClock) -> bool:
    early = ask_costs(aws).update_cost_allocation_tags_status(CostAllocationTagsStatus=ACTIVE)["Errors"]
    clock.sleep(86401)
    late = ask_costs(aws).update_cost_allocation_tags_status(CostAllocationTagsStatus=ACTIVE)["Errors"]
    return (early[0]["Code"], late) == ("TagKeysNotFoundException", [])


@provokes("secret-being-deleted")
def _(aws: Aws, clock: ManualClock) -> None:
    secrets = aws.client("secretsmanager")
    for pause in (21, 19):
        arn = secrets.create_secret(Name="lab/hf-token", SecretString="x")["ARN"]
        secrets.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
        clock.sleep(pause)
    secrets.create_secret(Name="lab/hf-token", SecretString="x")


def scan(aws: Aws) -> Any:
    ecr = aws.client("ecr")
    ecr.create_repository(repositoryName="repo")
    return ecr.describe_image_scan_findings(repositoryName="repo", imageId={"imageTag": "latest"})


@provokes("scans-are-enhanced")
def _(aws: Aws, clock: ManualClock) -> bool:
    found = scan(aws)
    return found["imageScanStatus"]["status"] == "ACTIVE" and "enhancedFindings" in found["imageScanFindings"]


@provokes("scan-not-begun")
def _(aws: Aws, clock: ManualClock) -> None:
    scan(aws)


@provokes("no-agent-answers")
def _(aws: Aws, clock: ManualClock) -> None:
    once(aws, "ssm").start_session(Target="i-0123456789abcdef0")
