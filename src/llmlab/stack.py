"""The list of all resources that a lab owns, in order. Plan, bootstrap, drift, teardown and the documentation are views of it."""

from typing import Any

from llmlab.aws import amis, policies, retired
from llmlab.aws.buckets import Bucket, DataBucket, OutputsBucket
from llmlab.aws.budget import Budget
from llmlab.aws.cloudwatch_alarm import ALARMING, BELOW, Alarm, AlarmSuffix
from llmlab.aws.dashboard import Dashboard
from llmlab.aws.ecr_repository import Registry
from llmlab.aws.event_rule import INSTANCE_CHANGED, SPOT_INTERRUPTION, Clockwork, Ec2Events, EventRule, RuleSuffix
from llmlab.aws.existing_network import ExistingNetwork
from llmlab.aws.function_permission import FunctionPermission
from llmlab.aws.instance_profile import InstanceProfile
from llmlab.aws.internet_gateway import InternetGateway
from llmlab.aws.lambda_function import Function
from llmlab.aws.launch_template import LaunchTemplate
from llmlab.aws.log_group import LogGroup
from llmlab.aws.oidc_provider import OidcProvider
from llmlab.aws.owned import AwsResource
from llmlab.aws.role import Role
from llmlab.aws.route_table import RouteTable
from llmlab.aws.s3_endpoint import S3Endpoint
from llmlab.aws.schedule_group import ScheduleGroup
from llmlab.aws.security_group import SecurityGroup
from llmlab.aws.session import Aws
from llmlab.aws.sns_topic import Subscription, Topic
from llmlab.aws.spot_role import SpotRole
from llmlab.aws.subnets import Subnets
from llmlab.aws.user_data import UserData, render
from llmlab.aws.vpc import Vpc
from llmlab.clock import Clock
from llmlab.config import Settings
from llmlab.contract import Env, LogStream, Metric
from llmlab.watchdog import package

RESOURCES: tuple[type[AwsResource], ...] = (
    Vpc, Subnets, InternetGateway, RouteTable, S3Endpoint, ExistingNetwork, SecurityGroup, LaunchTemplate, Bucket, Registry,
    Role, InstanceProfile, OidcProvider, SpotRole, LogGroup, Topic, Subscription, Alarm, Dashboard, Budget,
    Function, EventRule, FunctionPermission, ScheduleGroup,
)  # fmt: skip
"""The class of every resource that `build` can list, whatever the settings: they say what is left of a lab, what it costs
while idle, and what its operator may do.

What is found is shown in this order.
"""
RETIRED: tuple[type[AwsResource], ...] = retired.KINDS
"""Resources that only earlier versions of llmlab made: bootstrap and teardown remove them."""
SWEEP = {"sweep": True}
OVERDUE = {"overdue": True}
"""The events that the EventBridge rules send to the watchdog."""
WATCHING = (AlarmSuffix.WATCHDOG_ERRORS, AlarmSuffix.WATCHDOG_SILENT)
"""The alarms on the function itself."""
SILENT_SECONDS, SILENT_PERIODS = 300, 3
"""A quarter of an hour without a single call of the watchdog, which is called every minute."""


def build(settings: Settings, aws: Aws, clock: Clock) -> tuple[AwsResource, ...]:
    """The resources of a lab with these settings, in order."""
    here: dict[str, Any] = {"aws": aws, "clock": clock}
    network, group = _network(settings, here)
    identity, profile, watchdog_role, scheduler_role = _identity(settings, aws, here)
    template = LaunchTemplate(
        profile=profile,
        security_group=group,
        image=settings.ami or f"resolve:ssm:{amis.parameter(settings.ubuntu)}",
        disk_gib=settings.disk_gib,
        disk_mb_per_second=settings.disk_mb_per_second,
        user_data=render(UserData(aws.names, settings.max_hours)),
        ssh_key=settings.ssh_key,
        **here,
    )
    outputs, topic = OutputsBucket(**here), Topic(**here)
    logs = {stream: LogGroup(stream=stream, days=settings.log_days, **here) for stream in LogStream}
    return (
        *network,
        group,
        DataBucket(**here),
        outputs,
        *(Registry(repository=repository, **here) for repository in aws.names.repositories),
        *identity,
        template,
        *logs.values(),
        *_watching(settings, topic, here),
        *_watchdog(settings, watchdog_role, scheduler_role, logs[LogStream.WATCHDOG], outputs, here),
        *_watching_the_watchdog(topic, here),
    )


def unwanted(settings: Settings, aws: Aws, clock: Clock) -> tuple[AwsResource, ...]:
    """Resources that a lab with these settings no longer has: bootstrap removes them."""
    return (
        *(make(aws=aws, clock=clock) for make in RETIRED),
        *(() if settings.dashboard else (Dashboard(aws=aws, clock=clock),)),
    )


def all_of(settings: Settings, aws: Aws, clock: Clock) -> tuple[AwsResource, ...]:
    """Every resource that a lab of this name may own, whatever its options: for teardown, which may not know them."""
    options = {"vpc_id": None, "subnet_ids": (), "github": settings.github or "owner/repository", "dashboard": True}
    old = tuple(make(aws=aws, clock=clock) for make in RETIRED)
    return (*build(settings.model_copy(update=options), aws, clock), *old)


def _network(settings: Settings, here: dict[str, Any]) -> tuple[tuple[AwsResource, ...], SecurityGroup]:
    """The lab's own network, or the one it is a guest in; and the security group, which is always the lab's."""
    if settings.vpc_id:
        existing = ExistingNetwork(vpc_id=settings.vpc_id, subnet_ids=settings.subnet_ids, **here)
        return (existing,), SecurityGroup(network=existing, ssh_cidr=settings.ssh_cidr, **here)
    vpc = Vpc(**here)
    subnets = Subnets(vpc=vpc, instance_types=settings.instance_types, **here)
    gateway = InternetGateway(vpc=vpc, **here)
    routes = RouteTable(vpc=vpc, subnets=subnets, gateway=gateway, **here)
    endpoint = S3Endpoint(vpc=vpc, routes=routes, **here)
    return (vpc, subnets, gateway, routes, endpoint), SecurityGroup(network=vpc, ssh_cidr=settings.ssh_cidr, **here)


def _identity(settings: Settings, aws: Aws, here: dict[str, Any]) -> tuple[tuple[AwsResource, ...], InstanceProfile, Role, Role]:
    names = aws.names
    bounded = {**here, "boundary": settings.permissions_boundary}
    instance = Role(
        role_name=names.instance_role, trust=policies.trust_service("ec2.amazonaws.com"), policy=policies.instance(names), **bounded
    )
    profile = InstanceProfile(role=instance, **here)
    watchdog = Role(
        role_name=names.watchdog_role, trust=policies.trust_service("lambda.amazonaws.com"), policy=policies.watchdog(names), **bounded
    )
    scheduler = Role(
        role_name=names.scheduler_role,
        trust=policies.trust_scheduler(names),
        policy=policies.scheduler(names),
        **bounded,
    )
    resources: tuple[AwsResource, ...] = (instance, profile, watchdog, scheduler, SpotRole(**here))
    if settings.github:
        provider = OidcProvider(**here)
        trust = policies.trust_github(aws.account, settings.github, settings.github_branch, settings.github_ids)
        push = Role(role_name=names.github_role, trust=trust, policy=policies.github_push(names), after=(provider,), **bounded)
        resources = (provider, push, *resources)
    return resources, profile, watchdog, scheduler


def _watching(settings: Settings, topic: Topic, here: dict[str, Any]) -> tuple[AwsResource, ...]:
    too_long = Alarm(
        suffix=AlarmSuffix.MAX_RUNTIME,
        metric=Metric.RUN_AGE_MINUTES.value,
        statistic="Maximum",
        threshold=settings.max_hours * 60,
        period_seconds=3600,
        says=f"an instance has been up for more than {settings.max_hours:g} hours: llmlab status",
        topic=topic,
        **here,
    )
    failed = Alarm(
        suffix=AlarmSuffix.FAILED_RUNS,
        metric=Metric.FAILED_RUNS.value,
        statistic="Sum",
        threshold=0,
        period_seconds=300,
        says="a run has failed: llmlab status",
        topic=topic,
        **here,
    )
    mail = (Subscription(topic=topic, email=settings.email, **here),) if settings.email else ()
    dashboard = (Dashboard(**here),) if settings.dashboard else ()
    return (topic, *mail, too_long, failed, *dashboard, Budget(dollars=settings.budget, topic=topic, **here))


def _watching_the_watchdog(topic: Topic, here: dict[str, Any]) -> tuple[AwsResource, ...]:
    """Alarms on Lambda's own metrics of the function, which cost nothing: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html.

    A function that is called every minute and shows no invocation is dead, whatever has become of its rules.
    """
    lambda_: dict[str, Any] = {
        "namespace": "AWS/Lambda", "dimensions": {"FunctionName": topic.names.watchdog}, "statistic": "Sum", "topic": topic, **here,
    }  # fmt: skip
    errors = Alarm(
        suffix=AlarmSuffix.WATCHDOG_ERRORS,
        metric="Errors",
        threshold=0,
        period_seconds=300,
        says="the watchdog fails: llmlab doctor",
        **lambda_,
    )
    silent = Alarm(
        suffix=AlarmSuffix.WATCHDOG_SILENT,
        metric="Invocations",
        threshold=1,
        comparison=BELOW,
        period_seconds=SILENT_SECONDS,
        periods=SILENT_PERIODS,
        missing=ALARMING,
        says="the watchdog was not called for a quarter of an hour: llmlab doctor",
        **lambda_,
    )
    return errors, silent


def _watchdog(
    settings: Settings, role: Role, scheduler_role: Role, log_group: LogGroup, failures: OutputsBucket, here: dict[str, Any]
) -> tuple[AwsResource, ...]:
    """The function and what calls it. Only the deadlines of runs are Scheduler's, with its group and its role; these rules need neither."""
    names = role.names
    lab = {
        Env.LAB.value: names.lab,
        Env.OUTPUTS_BUCKET.value: names.outputs_bucket,
        Env.TOPIC.value: names.arn("sns", names.topic),
        Env.SCHEDULER_ROLE.value: scheduler_role.arn,
        Env.MAX_HOURS.value: f"{settings.max_hours:g}",
    }
    function = Function(role=role, log_group=log_group, code=package.build(lab), failures=failures, **here)
    rules = (
        Ec2Events(suffix=RuleSuffix.SPOT_INTERRUPTION, pattern=SPOT_INTERRUPTION, function=function, **here),
        Ec2Events(suffix=RuleSuffix.INSTANCE_ENDED, pattern=INSTANCE_CHANGED, function=function, **here),
        Clockwork(suffix=RuleSuffix.SWEEP, every="rate(1 hour)", event=SWEEP, function=function, **here),
        Clockwork(suffix=RuleSuffix.OVERDUE, every="rate(1 minute)", event=OVERDUE, function=function, **here),
    )
    return (function, *rules, FunctionPermission(function=function, rules=rules, **here), ScheduleGroup(**here))
