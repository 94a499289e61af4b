"""A hand that spoils each owned property of each kind, through AWS's own API and never through our code.

For a kind that has none here, one is derived: the resource as somebody would declare it who wants another value. It goes through the
resource's own `update`, and so sees less than a hand.
"""

import base64
import dataclasses
import json
from collections.abc import Callable
from typing import Any

from llmlab.aws.budget import HOME

Spoil = Callable[[Any], None]


def vpc(attribute: str) -> Spoil:
    return lambda one: one.aws.ec2.modify_vpc_attribute(VpcId=one.need_id(), **{attribute: {"Value": False}})


def make_private(zone: str) -> Spoil:
    def spoil(one: Any) -> None:
        subnet = next(subnet["SubnetId"] for subnet in one.all() if subnet["AvailabilityZone"] == zone)
        one.aws.ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": False})

    return spoil


def detach(one: Any) -> None:
    one.aws.ec2.detach_internet_gateway(InternetGatewayId=one.need_id(), VpcId=one.vpc.need_id())


def remove_route(one: Any) -> None:
    one.aws.ec2.delete_route(RouteTableId=one.need_id(), DestinationCidrBlock="0.0.0.0/0")


def disassociate(one: Any) -> None:
    association = one.look()["Associations"][0]["RouteTableAssociationId"]
    one.aws.ec2.disassociate_route_table(AssociationId=association)


def unroute(one: Any) -> None:
    one.aws.ec2.modify_vpc_endpoint(VpcEndpointId=one.need_id(), RemoveRouteTableIds=[one.routes.need_id()])


def let_everything_pass(one: Any) -> None:
    """As EC2 makes an endpoint for which nobody has written a policy."""
    full = {"Version": "2008-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}
    one.aws.ec2.modify_vpc_endpoint(VpcEndpointId=one.need_id(), PolicyDocument=json.dumps(full))


def open_door(one: Any) -> None:
    everyone = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    one.aws.ec2.authorize_security_group_ingress(GroupId=one.need_id(), IpPermissions=[everyone])


def close_exit(one: Any) -> None:
    one.aws.ec2.revoke_security_group_egress(GroupId=one.need_id(), IpPermissions=one.look()["IpPermissionsEgress"])


def s3(operation: str, **values: Any) -> Spoil:
    return lambda one: getattr(one.aws.s3, operation)(Bucket=one.name, **values)


def lifecycle(rule: str, **values: Any) -> Spoil:
    def spoil(one: Any) -> None:
        rules = one.aws.s3.get_bucket_lifecycle_configuration(Bucket=one.name)["Rules"]
        changed = [{**one_rule, **values} if one_rule["ID"] == f"llmlab-{rule}" else one_rule for one_rule in rules]
        one.aws.s3.put_bucket_lifecycle_configuration(Bucket=one.name, LifecycleConfiguration={"Rules": changed})

    return spoil


BUCKET: dict[str, Spoil] = {
    "versioning": s3("put_bucket_versioning", VersioningConfiguration={"Status": "Suspended"}),
    "encryption": s3(
        "put_bucket_encryption",
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]},
    ),
    "public access": s3("delete_public_access_block"),
    "ownership": s3("put_bucket_ownership_controls", OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}),
    "TLS only": s3("delete_bucket_policy"),
    "archive": lifecycle("archive", Status="Disabled"),
    "old versions": lifecycle("old-versions", NoncurrentVersionExpiration={"NoncurrentDays": 1}),
    "stale uploads": lifecycle("stale-uploads", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}),
}


def stop_scanning(one: Any) -> None:
    one.client.put_image_scanning_configuration(repositoryName=one.name, imageScanningConfiguration={"scanOnPush": False})


def other_audience(one: Any) -> None:
    one.aws.client("iam").remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=one.arn, ClientID="sts.amazonaws.com")


ANYBODY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:TagSession"}],
}
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def attach(one: Any) -> None:
    """A policy of somebody's that allows everything."""
    name = f"somebodys-{one.name}"
    arn = one.client.create_policy(PolicyName=name, PolicyDocument=json.dumps(EVERYTHING))["Policy"]["Arn"]
    one.client.attach_role_policy(RoleName=one.name, PolicyArn=arn)


ROLE: dict[str, Spoil] = {
    "trust": lambda one: one.client.update_assume_role_policy(RoleName=one.name, PolicyDocument=json.dumps(ANYBODY)),
    "policy": lambda one: one.client.put_role_policy(RoleName=one.name, PolicyName="llmlab", PolicyDocument=json.dumps(EVERYTHING)),
    "other policies": attach,
    "session hours": lambda one: one.client.update_role(RoleName=one.name, MaxSessionDuration=7200),
    "permissions boundary": lambda one: one.client.put_role_permissions_boundary(
        RoleName=one.name, PermissionsBoundary=f"arn:aws:iam::{one.aws.account}:policy/somebodys"
    ),
}


def empty_profile(one: Any) -> None:
    one.client.remove_role_from_instance_profile(InstanceProfileName=one.name, RoleName=one.role.name)


def template(**values: Any) -> Spoil:
    """A new default version by somebody's hand."""

    def spoil(one: Any) -> None:
        ec2 = one.aws.ec2
        data = ec2.describe_launch_template_versions(LaunchTemplateName=one.name, Versions=["$Default"])["LaunchTemplateVersions"][0]
        changed = {key: value for key, value in {**data["LaunchTemplateData"], **values}.items() if value is not None}
        made = ec2.create_launch_template_version(LaunchTemplateName=one.name, LaunchTemplateData=changed)
        ec2.modify_launch_template(LaunchTemplateName=one.name, DefaultVersion=str(made["LaunchTemplateVersion"]["VersionNumber"]))

    return spoil


DISK = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 200, "VolumeType": "gp3", "Encrypted": False, "DeleteOnTermination": True}}
TEMPLATE: dict[str, Spoil] = {
    "image": template(ImageId="ami-12345678"),
    "instance profile": template(IamInstanceProfile={"Name": "somebodys"}),
    "security group": template(SecurityGroupIds=["sg-0123456789"]),
    "metadata": template(MetadataOptions={"HttpTokens": "optional", "HttpPutResponseHopLimit": 2, "InstanceMetadataTags": "enabled"}),
    "disk": template(BlockDeviceMappings=[DISK]),
    "shutdown": template(InstanceInitiatedShutdownBehavior="stop"),
    "ssh key": template(KeyName="somebodys"),
    "tags": template(TagSpecifications=None),
    "user data": template(UserData=base64.b64encode(b"#!/bin/sh\n").decode()),
}


def silence(one: Any) -> None:
    everybody = {"Sid": "mine", "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sns:Subscribe", "Resource": one.arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    one.client.set_topic_attributes(TopicArn=one.arn, AttributeName="Policy", AttributeValue=policy)


def alarm(**values: Any) -> Spoil:
    def spoil(one: Any) -> None:
        now = one.client.describe_alarms(AlarmNames=[one.name])["MetricAlarms"][0]
        keys = (
            "AlarmName", "AlarmDescription", "AlarmActions", "Namespace", "MetricName", "Statistic", "Period", "EvaluationPeriods",
            "Threshold", "ComparisonOperator", "TreatMissingData", "Dimensions",
        )  # fmt: skip
        one.client.put_metric_alarm(**({key: now[key] for key in keys} | values))

    return spoil


ALARM: dict[str, Spoil] = {
    "metric": alarm(MetricName="Somebodys"),
    "condition": alarm(Threshold=1e9),
    "missing data": alarm(TreatMissingData="ignore"),
    "tells": alarm(AlarmActions=[]),
    "description": alarm(AlarmDescription="mine"),
}


def rearrange(one: Any) -> None:
    body = json.loads(one.client.get_dashboard(DashboardName=one.name)["DashboardBody"])
    one.client.put_dashboard(DashboardName=one.name, DashboardBody=json.dumps({"widgets": body["widgets"][:2]}))


def budget(**values: Any) -> Spoil:
    def spoil(one: Any) -> None:
        client = one.aws.client("budgets", region=HOME)
        now = client.describe_budget(AccountId=one.aws.account, BudgetName=one.name)["Budget"]
        keys = ("BudgetName", "BudgetType", "TimeUnit", "BudgetLimit", "CostFilters", "CostTypes")
        client.update_budget(AccountId=one.aws.account, NewBudget={key: now[key] for key in keys} | values)

    return spoil


def _notification(percent: float) -> dict[str, Any]:
    return {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": percent, "ThresholdType": "PERCENTAGE"}


def unnotify(one: Any) -> None:
    one.client.delete_notification(AccountId=one.aws.account, BudgetName=one.name, Notification=_notification(80.0))


def other_listener(one: Any) -> None:
    which = {"AccountId": one.aws.account, "BudgetName": one.name, "Notification": _notification(100.0)}
    one.client.create_subscriber(**which, Subscriber={"SubscriptionType": "EMAIL", "Address": "you@example.org"})
    one.client.delete_subscriber(**which, Subscriber={"SubscriptionType": "SNS", "Address": one.topic.arn})


BUDGET: dict[str, Spoil] = {
    "dollars a month": budget(BudgetLimit={"Amount": "1000000", "Unit": "USD"}),
    "counts": budget(CostFilters={"Service": ["Amazon S3"]}),
    "credits and refunds": budget(CostTypes={"IncludeCredit": True}),
    "alert at 80 %": unnotify,
    "alert at 100 %": other_listener,
}


def function(**values: Any) -> Spoil:
    return lambda one: one.client.update_function_configuration(FunctionName=one.name, **values)


def other_code(one: Any) -> None:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("handler.py", "x = 1\n")
    one.client.update_function_code(FunctionName=one.name, ZipFile=buffer.getvalue())


FUNCTION: dict[str, Spoil] = {
    "code": other_code,
    "runtime": function(Runtime="python3.13"),
    "handler": function(Handler="handler.x"),
    "role": function(Role="arn:aws:iam::123456789012:role/somebodys"),
    "timeout seconds": function(Timeout=3),
    "memory MiB": function(MemorySize=128),
    "environment": function(Environment={"Variables": {"MINE": "1"}}),
    "failed events": lambda one: one.client.delete_function_event_invoke_config(FunctionName=one.name),
}


def target(**values: Any) -> Spoil:
    def spoil(one: Any) -> None:
        now = one.client.list_targets_by_rule(Rule=one.name)["Targets"][0]
        one.client.put_targets(Rule=one.name, Targets=[{**now, **values}])

    return spoil


RULE: dict[str, Spoil] = {
    "pattern": lambda one: one.client.put_rule(Name=one.name, EventPattern=json.dumps({"source": ["aws.s3"]})),
    "every": lambda one: one.client.put_rule(Name=one.name, ScheduleExpression="rate(1 day)"),
    "state": lambda one: one.client.disable_rule(Name=one.name),
    "target": target(Arn="arn:aws:lambda:us-east-1:123456789012:function:somebodys"),
    "input": target(Input="{}"),
}


def permission(statement: str) -> Spoil:
    return lambda one: one.client.remove_permission(FunctionName=one.function.name, StatementId=statement)


def spoiler(resource: Any, name: str) -> Spoil | None:
    """The hand for one property, or None where there is none."""
    if resource.kind == "subnets":
        return make_private(name)
    if resource.kind == "function permission":
        return permission(name)
    return HANDS.get(resource.kind, {}).get(name) or derived(resource, name)


def derived(resource: Any, name: str) -> Spoil | None:
    """The resource with another value in one of its fields, where this property alone is another one then."""
    wanted = resource.desired()
    for field in dataclasses.fields(resource):
        value = getattr(resource, field.name)
        if not isinstance(value, OTHER):
            continue
        declared = dataclasses.replace(resource, **{field.name: other(value)})
        differs = {key: now for key, now in declared.desired().items() if now != wanted.get(key)}
        if differs.keys() == {name} and declared.key == resource.key:
            return lambda _one: declared.update(differs)
    return None


OTHER = (bool, int, float, str)


def other(value: Any) -> Any:
    return not value if isinstance(value, bool) else f"{value}-other" if isinstance(value, str) else value + 1


HANDS: dict[str, dict[str, Spoil]] = {
    "VPC": {"dns support": vpc("EnableDnsSupport"), "dns hostnames": vpc("EnableDnsHostnames")},
    "internet gateway": {"attached to": detach},
    "route table": {"default route": remove_route, "zones": disassociate},
    "S3 endpoint": {"in route table": unroute, "policy": let_everything_pass},
    "security group": {"inbound": open_door, "outbound": close_exit},
    "data bucket": BUCKET,
    "outputs bucket": BUCKET,
    "image repository": {
        "scan on push": stop_scanning,
        "lifecycle": lambda one: one.client.delete_lifecycle_policy(repositoryName=one.name),
    },
    "OIDC provider": {"audience": other_audience},
    "role": ROLE,
    "instance profile": {"role": empty_profile},
    "launch template": TEMPLATE,
    "log group": {"retention days": lambda one: one.client.delete_retention_policy(logGroupName=one.name)},
    "alert topic": {"may publish": silence},
    "alarm": ALARM,
    "dashboard": {"widgets": rearrange},
    "budget": BUDGET,
    "function": FUNCTION,
    "event rule": RULE,
}
