"""The resources of a lab that AWS still shows: each kind looked up on its own, by tag or by name and tag, never by the list in `stack.py`.

This is the second opinion after a teardown: it finds what a wrong list, a crash or somebody's hand has left.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

from llmlab.aws import secrets
from llmlab.aws.buckets import OutputsBucket
from llmlab.aws.budget import HOME
from llmlab.aws.dashboard import mark
from llmlab.aws.oidc_provider import OidcProvider
from llmlab.aws.owned import from_list, to_list
from llmlab.aws.pages import every
from llmlab.aws.retired import SharedBudget, SharedDashboard
from llmlab.aws.session import Aws, Denied, NotFound
from llmlab.contract import LogStream
from llmlab.lifecycle import instances

EC2 = {
    "VPC": ("describe_vpcs", "Vpcs", "VpcId"),
    "subnet": ("describe_subnets", "Subnets", "SubnetId"),
    "internet gateway": ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    "route table": ("describe_route_tables", "RouteTables", "RouteTableId"),
    "VPC endpoint": ("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
    "security group": ("describe_security_groups", "SecurityGroups", "GroupId"),
    "volume": ("describe_volumes", "Volumes", "VolumeId"),
    "snapshot": ("describe_snapshots", "Snapshots", "SnapshotId"),
    "network interface": ("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
    "launch template": ("describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
    "spot request": ("describe_spot_instance_requests", "SpotInstanceRequests", "SpotInstanceRequestId"),
}
"""Kind → paginator, list and id in its answer."""
BUCKETS_AT_ONCE = 1000
"""An account with a quota of more than 10,000 buckets may list them in pages alone.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html"""
GONE = {"deleted", "deleting", "closed", "cancelled", "failed"}


@dataclass(frozen=True)
class Leftover:
    """Something of the lab's. `results` is true for what a plain teardown keeps on purpose, `command` ends it by hand."""

    kind: str
    id: str
    results: bool = False
    command: str = ""


def find(aws: Aws) -> list[Leftover]:
    """Every resource of the lab, in the order of kinds, looked up in parallel. What is shared with the account is left out."""
    questions: list[Callable[[Aws], Iterator[Leftover]]] = [
        *((lambda aws, kind=kind: _tagged(aws, kind)) for kind in EC2),
        _instances, _addresses, _buckets, _repository, _roles, _profiles, _provider, _log_groups, _topic, _alarms, _dashboard,
        _budget, _function, _rules, _schedule_group, _secrets, _retired,
    ]  # fmt: skip
    aws.names  # noqa: B018 - looked up once, before the threads need it
    with ThreadPoolExecutor(16) as pool:
        return list(chain.from_iterable(pool.map(lambda question: _answer(aws, question), questions)))


def _answer(aws: Aws, question: Callable[[Aws], Iterator[Leftover]]) -> list[Leftover]:
    """The answer to a question, asked again when a resource vanished between being listed and being described."""
    try:
        return list(question(aws))
    except NotFound:
        return list(question(aws))


def idle(aws: Aws) -> list[Leftover]:
    """Disks, network interfaces, snapshots and addresses of ours that belong to no machine, and cost money or block a teardown."""
    filters: Any = [{"Name": f"tag:{key}", "Values": [value]} for key, value in aws.names.tags.items()]
    available: Any = [*filters, {"Name": "status", "Values": ["available"]}]
    volumes = every(aws.ec2, "describe_volumes", "Volumes", Filters=available)
    interfaces = every(aws.ec2, "describe_network_interfaces", "NetworkInterfaces", Filters=available)
    idle_resources = [
        *(("volume", volume["VolumeId"]) for volume in volumes),
        *(("network interface", interface["NetworkInterfaceId"]) for interface in interfaces),
    ]
    named = [Leftover(kind, identity, command=_ec2_command(kind, identity, aws.region)) for kind, identity in idle_resources]
    return [*named, *_tagged(aws, "snapshot"), *_addresses(aws)]


def _is_ours(aws: Aws, tags: Mapping[str, str]) -> bool:
    return all(tags.get(key) == value for key, value in aws.names.tags.items())


def _tagged(aws: Aws, kind: str) -> Iterator[Leftover]:
    operation, items, identity = EC2[kind]
    filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in aws.names.tags.items()]
    mine = {"OwnerIds": ["self"]} if kind == "snapshot" else {}  # else EC2 looks through everybody's public ones
    for page in aws.client("ec2").get_paginator(operation).paginate(Filters=filters, **mine):
        for item in page[items]:
            if str(item.get("State") if isinstance(item.get("State"), str) else "").lower() not in GONE:
                yield Leftover(kind, item[identity], command=_ec2_command(kind, item[identity], aws.region))


def _ec2_command(kind: str, identity: str, region: str) -> str:
    verb, option = {
        "volume": ("delete-volume", "volume-id"),
        "network interface": ("delete-network-interface", "network-interface-id"),
        "snapshot": ("delete-snapshot", "snapshot-id"),
        "elastic address": ("release-address", "allocation-id"),
        "spot request": ("cancel-spot-instance-requests", "spot-instance-request-ids"),
    }.get(kind, ("", ""))
    return f"aws ec2 {verb} --{option} {identity} --region {region}" if verb else "llmlab teardown"


def _instances(aws: Aws) -> Iterator[Leftover]:
    for instance in instances.find(aws.ec2, aws.names):
        if instance.alive or instance.state == "shutting-down":
            yield Leftover(
                "instance", instance.id, command=f"aws ec2 terminate-instances --instance-ids {instance.id} --region {aws.region}"
            )


def _addresses(aws: Aws) -> Iterator[Leftover]:
    """Elastic addresses: nothing here makes one, but each costs, in use or not."""
    filters: Any = [{"Name": f"tag:{key}", "Values": [value]} for key, value in aws.names.tags.items()]
    for address in aws.ec2.describe_addresses(Filters=filters)["Addresses"]:
        identity = address["AllocationId"]
        yield Leftover("elastic address", identity, command=_ec2_command("elastic address", identity, aws.region))


def _buckets(aws: Aws) -> Iterator[Leftover]:
    kinds = {aws.names.data_bucket: "data bucket", aws.names.outputs_bucket: OutputsBucket.kind}
    for bucket in every(aws.s3, "list_buckets", "Buckets", PaginationConfig={"PageSize": BUCKETS_AT_ONCE}):
        if bucket["Name"] in kinds and _is_ours(aws, _bucket_tags(aws, bucket["Name"])):
            yield Leftover(kinds[bucket["Name"]], bucket["Name"], results=bucket["Name"] == aws.names.outputs_bucket)


def _bucket_tags(aws: Aws, name: str) -> Mapping[str, str]:
    """The tags of a bucket of this account; those of another account's cannot be read."""
    try:
        return from_list(aws.s3.get_bucket_tagging(Bucket=name, ExpectedBucketOwner=aws.account)["TagSet"])
    except (NotFound, Denied):
        return {}


def _repository(aws: Aws) -> Iterator[Leftover]:
    client = aws.client("ecr")
    for page in client.get_paginator("describe_repositories").paginate():
        for repository in page["repositories"]:
            if repository["repositoryName"] in aws.names.repositories:
                tags = client.list_tags_for_resource(resourceArn=repository["repositoryArn"])["tags"]
                yield from _if_ours(aws, "image repository", repository["repositoryName"], tags)


def _roles(aws: Aws) -> Iterator[Leftover]:
    client = aws.client("iam")
    for page in client.get_paginator("list_roles").paginate():
        for role in page["Roles"]:
            if role["RoleName"].startswith(f"{aws.names.prefix}-"):
                yield from _if_ours(aws, "role", role["RoleName"], every(client, "list_role_tags", "Tags", RoleName=role["RoleName"]))


def _if_ours(aws: Aws, kind: str, identity: str, tags: Any) -> Iterator[Leftover]:
    if _is_ours(aws, from_list(tags)):
        yield Leftover(kind, identity)


def _profiles(aws: Aws) -> Iterator[Leftover]:
    client = aws.client("iam")
    for page in client.get_paginator("list_instance_profiles").paginate():
        for profile in page["InstanceProfiles"]:
            name = profile["InstanceProfileName"]
            if name.startswith(f"{aws.names.prefix}-"):
                described = client.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
                yield from _if_ours(aws, "instance profile", name, described.get("Tags", []))


def _provider(aws: Aws) -> Iterator[Leftover]:
    provider = OidcProvider(aws=aws)
    if provider.exists() and provider.ours():
        yield Leftover("OIDC provider", provider.name)


def _log_groups(aws: Aws) -> Iterator[Leftover]:
    """Log groups by their tags. A function that still ran recreates its own without any, so one without tags is ours by its name."""
    client = aws.client("logs")
    watchdog = aws.names.log_group(LogStream.WATCHDOG)
    for prefix in (f"/{aws.lab}/", watchdog):
        for page in client.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
            for group in page["logGroups"]:
                name = group["logGroupName"]
                tags = client.list_tags_for_resource(resourceArn=aws.names.arn("logs", f"log-group:{name}"))["tags"]
                if (name == watchdog and not tags) or _is_ours(aws, tags):
                    yield Leftover("log group", name, command=f"aws logs delete-log-group --log-group-name {name} --region {aws.region}")


def _topic(aws: Aws) -> Iterator[Leftover]:
    for page in aws.client("sns").get_paginator("list_topics").paginate():
        for topic in page["Topics"]:
            if topic["TopicArn"] == aws.names.arn("sns", aws.names.topic):
                tags = aws.client("sns").list_tags_for_resource(ResourceArn=topic["TopicArn"])["Tags"]
                yield from _if_ours(aws, "alert topic", aws.names.topic, tags)


def _alarms(aws: Aws) -> Iterator[Leftover]:
    client = aws.client("cloudwatch")
    for page in client.get_paginator("describe_alarms").paginate(AlarmNamePrefix=f"{aws.lab}-"):
        for alarm in page["MetricAlarms"]:
            yield from _if_ours(aws, "alarm", alarm["AlarmName"], client.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"])


def _dashboard(aws: Aws) -> Iterator[Leftover]:
    client = aws.client("cloudwatch")
    for page in client.get_paginator("list_dashboards").paginate(DashboardNamePrefix=aws.names.dashboard):
        for entry in page["DashboardEntries"]:
            same = entry["DashboardName"] == aws.names.dashboard
            if same and mark(aws.names) in client.get_dashboard(DashboardName=aws.names.dashboard)["DashboardBody"]:
                yield Leftover("dashboard", entry["DashboardName"])


def _budget(aws: Aws) -> Iterator[Leftover]:
    client = aws.client("budgets", region=HOME)
    for page in client.get_paginator("describe_budgets").paginate(AccountId=aws.account):
        for budget in page.get("Budgets", []):
            if budget["BudgetName"] == aws.names.budget:
                arn = f"arn:aws:budgets::{aws.account}:budget/{aws.names.budget}"
                yield from _if_ours(aws, "budget", aws.names.budget, client.list_tags_for_resource(ResourceARN=arn).get("ResourceTags", []))


def _function(aws: Aws) -> Iterator[Leftover]:
    for page in aws.client("lambda").get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            if function["FunctionName"] == aws.names.watchdog:
                tags = aws.client("lambda").get_function(FunctionName=aws.names.watchdog).get("Tags", {})
                yield from _if_ours(aws, "function", aws.names.watchdog, to_list(tags))


def _rules(aws: Aws) -> Iterator[Leftover]:
    client = aws.client("events")
    for rule in every(client, "list_rules", "Rules", NamePrefix=f"{aws.lab}-"):
        yield from _if_ours(aws, "event rule", rule["Name"], client.list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"])


def _schedule_group(aws: Aws) -> Iterator[Leftover]:
    """The schedule group, with which the one-time schedules of runs are deleted."""
    client = aws.client("scheduler")
    try:
        state = client.get_schedule_group(Name=aws.names.schedule_group)["State"]
    except NotFound:
        return
    if state != "DELETING":
        arn = aws.names.arn("scheduler", f"schedule-group/{aws.names.schedule_group}")
        yield from _if_ours(aws, "schedule group", aws.names.schedule_group, client.list_tags_for_resource(ResourceArn=arn).get("Tags", []))


def _secrets(aws: Aws) -> Iterator[Leftover]:
    for secret in secrets.find(aws):
        yield Leftover("secret", aws.names.secret(secret.name), command=f"llmlab secret remove {secret.name}")


def _retired(aws: Aws) -> Iterator[Leftover]:
    """Resources that an earlier version of llmlab made; a schedule goes with its group."""
    for resource in (SharedBudget(aws=aws), SharedDashboard(aws=aws)):
        if resource.exists() and resource.ours():
            yield Leftover(resource.kind, resource.name)
