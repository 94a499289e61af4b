"""Each gap of moto that the lab needs, against what AWS documents."""

import json
import tracemalloc
from datetime import timedelta
from typing import Any

import pytest

from llmlab.aws.session import Aws, AwsError
from llmlab.clock import SystemClock
from llmlab.sandbox import market

IMAGE_PARAMETER = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"


@pytest.fixture
def network(lab_aws: Aws) -> dict[str, str]:
    """Two subnets and a launch template with everything the lab puts into one."""
    ec2 = lab_aws.ec2
    iam: Any = lab_aws.client("iam")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnets = {
        zone: ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.1.{number}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for number, zone in enumerate(("us-east-1a", "us-east-1b"), 1)
    }
    group = ec2.create_security_group(GroupName="run", Description="run", VpcId=vpc)["GroupId"]
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    iam.create_role(RoleName="instance", AssumeRolePolicyDocument=json.dumps(trust))
    iam.create_instance_profile(InstanceProfileName="instance")
    iam.add_role_to_instance_profile(InstanceProfileName="instance", RoleName="instance")
    ec2.create_launch_template(
        LaunchTemplateName="run",
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": [{"Key": "Project", "Value": "p"}]}],
        LaunchTemplateData={
            "ImageId": f"resolve:ssm:{IMAGE_PARAMETER}",
            "IamInstanceProfile": {"Name": "instance"},
            "SecurityGroupIds": [group],
            "InstanceInitiatedShutdownBehavior": "terminate",
            "UserData": "IyEvYmluL3NoCg==",
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled"},
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 200, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}}
            ],
            "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Project", "Value": "p"}]}],
        },
    )
    return {**subnets, "vpc": vpc, "group": group}


def fleet_request(network: dict[str, str], types: tuple[str, ...] = ("g6.xlarge", "g5.xlarge"), **more: Any) -> Any:
    overrides = [{"InstanceType": kind, "SubnetId": network[zone]} for kind in types for zone in ("us-east-1a", "us-east-1b")]
    config = {
        "LaunchTemplateSpecification": {"LaunchTemplateName": "run", "Version": "$Latest"},
        "Overrides": overrides,
    }
    return {
        "Type": "instant",
        "LaunchTemplateConfigs": [config],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
        "SpotOptions": {"AllocationStrategy": "price-capacity-optimized"},
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": [{"Key": "Run", "Value": "r"}]},
            {"ResourceType": "volume", "Tags": [{"Key": "Run", "Value": "r"}]},
            {"ResourceType": "network-interface", "Tags": [{"Key": "Run", "Value": "r"}]},
        ],
        **more,
    }


def test_a_fleet_instance_has_all_of_its_template(lab_aws: Aws, network: dict[str, str]) -> None:
    ec2 = lab_aws.ec2
    answer = ec2.create_fleet(**fleet_request(network))
    assert answer["Errors"] == []
    (chosen,) = answer["Instances"]
    instance = ec2.describe_instances(InstanceIds=chosen["InstanceIds"])["Reservations"][0]["Instances"][0]
    assert chosen["Lifecycle"] == instance["InstanceLifecycle"] == "spot"
    assert instance["SpotInstanceRequestId"].startswith("sir-")
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["InstanceMetadataTags"] == "enabled"
    assert instance["IamInstanceProfile"]["Arn"].endswith("instance-profile/instance")
    assert [group["GroupId"] for group in instance["SecurityGroups"]] == [network["group"]]
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert tags.items() >= {"Project": "p", "Run": "r"}.items()
    assert tags["aws:ec2:fleet-id"] == answer["FleetId"]
    shutdown = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="instanceInitiatedShutdownBehavior")
    assert shutdown["InstanceInitiatedShutdownBehavior"] == {"Value": "terminate"}
    user_data = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")
    assert user_data["UserData"] == {"Value": "IyEvYmluL3NoCg=="}
    (volume,) = ec2.describe_volumes()["Volumes"]
    assert (volume["Size"], volume["VolumeType"], volume["Encrypted"]) == (200, "gp3", True)
    assert volume["Tags"] == [{"Key": "Run", "Value": "r"}]
    (interface,) = ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert interface["TagSet"] == [{"Key": "Run", "Value": "r"}]


def test_a_terminated_fleet_instance_leaves_nothing(lab_aws: Aws, network: dict[str, str]) -> None:
    ec2 = lab_aws.ec2
    identity = ec2.create_fleet(**fleet_request(network))["Instances"][0]["InstanceIds"][0]
    ec2.terminate_instances(InstanceIds=[identity])
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []
    assert ec2.describe_volumes()["Volumes"] == []
    ec2.delete_security_group(GroupId=network["group"])


def test_a_fleet_takes_the_cheapest_pool_that_has_capacity(lab_aws: Aws, network: dict[str, str]) -> None:
    ec2 = lab_aws.ec2
    prices = {
        (item["InstanceType"], item["AvailabilityZone"]): float(item["SpotPrice"])
        for item in ec2.describe_spot_price_history(InstanceTypes=["g6.xlarge", "g5.xlarge"], StartTime=SystemClock().now())[
            "SpotPriceHistory"
        ]
        if item["AvailabilityZone"] in network
    }
    order = sorted(prices, key=lambda pool: prices[pool])
    assert len(order) == 4
    market.refuse("us-east-1", *order[0])
    answer = ec2.create_fleet(**fleet_request(network))
    (error,) = answer["Errors"]
    assert error["ErrorCode"] == "InsufficientInstanceCapacity"
    overrides = error["LaunchTemplateAndOverrides"]["Overrides"]
    assert (overrides["InstanceType"], overrides["SubnetId"]) == (order[0][0], network[order[0][1]])
    instance = ec2.describe_instances(InstanceIds=answer["Instances"][0]["InstanceIds"])["Reservations"][0]["Instances"][0]
    assert (instance["InstanceType"], instance["Placement"]["AvailabilityZone"]) == order[1]


def test_a_fleet_without_capacity_anywhere_is_an_answer_not_an_error(lab_aws: Aws, network: dict[str, str]) -> None:
    market.refuse("us-east-1", market="spot")
    answer = lab_aws.ec2.create_fleet(**fleet_request(network))
    assert answer["Instances"] == []
    assert len(answer["Errors"]) == 4
    assert lab_aws.ec2.describe_instances()["Reservations"] == []
    on_demand = fleet_request(network, TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"})
    assert lab_aws.ec2.create_fleet(**on_demand)["Instances"][0]["Lifecycle"] == "on-demand"


def test_a_client_token_starts_one_instance(lab_aws: Aws, network: dict[str, str]) -> None:
    ec2 = lab_aws.ec2
    first = ec2.create_fleet(**fleet_request(network, ClientToken="run-1"))
    again = ec2.create_fleet(**fleet_request(network, ClientToken="run-1"))
    assert again["Instances"] == first["Instances"]
    assert len(ec2.describe_instances()["Reservations"]) == 1
    with pytest.raises(AwsError) as caught:
        ec2.create_fleet(**fleet_request(network, ("g6.2xlarge",), ClientToken="run-1"))
    assert caught.value.code == "IdempotentParameterMismatch"


def test_a_client_token_of_run_instances_is_zonal(lab_aws: Aws, network: dict[str, str]) -> None:
    ec2 = lab_aws.ec2

    def launch(zone: str) -> str:
        answer = ec2.run_instances(
            LaunchTemplate={"LaunchTemplateName": "run"},
            InstanceType="g6.xlarge",
            SubnetId=network[zone],
            MinCount=1,
            MaxCount=1,
            ClientToken="t",
        )
        return answer["Instances"][0]["InstanceId"]

    assert launch("us-east-1a") == launch("us-east-1a")
    assert launch("us-east-1b") != launch("us-east-1a")


def test_limits_of_a_launch(lab_aws: Aws, network: dict[str, str]) -> None:
    ec2 = lab_aws.ec2

    def refused(**values: Any) -> str:
        with pytest.raises(AwsError) as caught:
            ec2.run_instances(
                **{
                    "LaunchTemplate": {"LaunchTemplateName": "run"},
                    "SubnetId": network["us-east-1a"],
                    "MinCount": 1,
                    "MaxCount": 1,
                    **values,
                }
            )
        return caught.value.code

    assert refused(InstanceType="p3.2xlarge") == "InvalidParameterValue"
    assert refused(InstanceType="g6.xlarge", UserData="x" * 16385) == "InvalidParameterValue"
    assert refused(InstanceType="g6.xlarge", ImageId="ami-00000000000000000") == "InvalidAMIID.NotFound"
    assert refused(InstanceType="p4d.24xlarge") == "VcpuLimitExceeded"
    market.set_quota("us-east-1", "L-3819A6DF", 3)
    assert refused(InstanceType="g6.xlarge", InstanceMarketOptions={"MarketType": "spot"}) == "MaxSpotInstanceCountExceeded"
    market.refuse("us-east-1", "g6.xlarge", "us-east-1a", "on-demand")
    assert refused(InstanceType="g6.xlarge") == "InsufficientInstanceCapacity"


def test_a_template_keeps_its_own_tags_to_itself(lab_aws: Aws, network: dict[str, str]) -> None:
    data = lab_aws.ec2.describe_launch_template_versions(LaunchTemplateName="run")["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert [item["ResourceType"] for item in data["TagSpecifications"]] == ["instance"]


def test_deep_learning_images_have_names(lab_aws: Aws) -> None:
    ssm: Any = lab_aws.client("ssm")
    for release in ("22.04", "24.04", "26.04"):
        identity = ssm.get_parameter(Name=IMAGE_PARAMETER.replace("22.04", release))["Parameter"]["Value"]
        (image,) = lab_aws.ec2.describe_images(ImageIds=[identity])["Images"]
        assert f"(Ubuntu {release})" in image["Name"]
        assert (image["RootDeviceName"], image["OwnerId"], image["Architecture"]) == ("/dev/sda1", "898082745236", "x86_64")


def test_spot_prices_are_of_now(lab_aws: Aws) -> None:
    now = SystemClock().now()
    history = lab_aws.ec2.describe_spot_price_history(InstanceTypes=["g6.xlarge"], ProductDescriptions=["Linux/UNIX"], StartTime=now)[
        "SpotPriceHistory"
    ]
    assert {item["AvailabilityZone"] for item in history} >= {"us-east-1a", "us-east-1b"}
    assert len(history) == len({item["AvailabilityZone"] for item in history})
    assert all(now - timedelta(hours=6) <= item["Timestamp"] <= now for item in history)
    assert all(0.2 < float(item["SpotPrice"]) < 0.5 for item in history)
    longer = lab_aws.ec2.describe_spot_price_history(InstanceTypes=["g6.xlarge"], StartTime=now - timedelta(days=1))["SpotPriceHistory"]
    assert len(longer) >= 4 * len(history)


def test_placement_scores_want_three_types(lab_aws: Aws) -> None:
    def best(*types: str) -> int:
        scores = lab_aws.ec2.get_spot_placement_scores(InstanceTypes=list(types), TargetCapacity=1, RegionNames=["us-east-1"])[
            "SpotPlacementScores"
        ]
        return max(item["Score"] for item in scores)

    assert best("g6.xlarge") < best("g6.xlarge", "g5.xlarge", "g6.2xlarge")


def test_a_bucket_keeps_the_tags_of_its_creation(lab_aws: Aws) -> None:
    lab_aws.s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"Tags": [{"Key": "Project", "Value": "p"}]})
    assert lab_aws.s3.get_bucket_tagging(Bucket="bucket")["TagSet"] == [{"Key": "Project", "Value": "p"}]


def test_a_tls_only_policy_denies_only_what_is_not_tls(lab_aws: Aws) -> None:
    s3 = lab_aws.s3
    s3.create_bucket(Bucket="bucket")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    s3.put_object(Bucket="bucket", Key="k", Body=b"x")
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"x"
    plain: Any = lab_aws.session.client("s3", use_ssl=False)
    with pytest.raises(AwsError) as caught:
        plain.get_object(Bucket="bucket", Key="k")
    assert caught.value.code in {"403", "AccessDenied"}


def test_products_have_a_price(lab_aws: Aws) -> None:
    pricing: Any = lab_aws.client("pricing", region="us-east-1")
    terms = {
        "instanceType": "g6.xlarge",
        "regionCode": "us-east-1",
        "operatingSystem": "Linux",
        "preInstalledSw": "NA",
        "tenancy": "Shared",
    }
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in terms.items()]
    (text,) = pricing.get_products(ServiceCode="AmazonEC2", Filters=filters)["PriceList"]
    (term,) = json.loads(text)["terms"]["OnDemand"].values()
    (dimension,) = term["priceDimensions"].values()
    assert float(dimension["pricePerUnit"]["USD"]) == 0.8048
    assert pricing.get_products(ServiceCode="AmazonEC2", Filters=[{**filters[0], "Value": "p3.2xlarge"}])["PriceList"] == []


def test_quotas_can_be_read_and_asked_for(lab_aws: Aws) -> None:
    quotas: Any = lab_aws.client("service-quotas")
    assert quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-DB2E81BA")["Quota"]["Value"] == 64
    assert quotas.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode="L-DB2E81BA")["Quota"]["Value"] == 0
    market.set_quota("us-east-1", "L-DB2E81BA", 8)
    values = {item["QuotaCode"]: item["Value"] for item in quotas.list_service_quotas(ServiceCode="ec2")["Quotas"]}
    assert values.items() >= {"L-DB2E81BA": 8.0, "L-417A185B": 0.0}.items()
    request = quotas.request_service_quota_increase(ServiceCode="ec2", QuotaCode="L-3819A6DF", DesiredValue=96)
    assert request["RequestedQuota"]["Status"] == "PENDING"


def test_a_budget_can_be_changed_and_tagged(lab_aws: Aws) -> None:
    budgets: Any = lab_aws.client("budgets", region="us-east-1")
    account = lab_aws.account
    budget = {"BudgetName": "b", "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": {"Amount": "50", "Unit": "USD"}}
    notification = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80.0, "ThresholdType": "PERCENTAGE"}
    subscriber = {"SubscriptionType": "EMAIL", "Address": "me@example.org"}
    budgets.create_budget(
        AccountId=account,
        Budget=budget,
        NotificationsWithSubscribers=[{"Notification": notification, "Subscribers": [subscriber]}],
        ResourceTags=[{"Key": "Project", "Value": "p"}],
    )
    budgets.update_budget(AccountId=account, NewBudget={**budget, "BudgetLimit": {"Amount": "70", "Unit": "USD"}})
    assert budgets.describe_budget(AccountId=account, BudgetName="b")["Budget"]["BudgetLimit"]["Amount"] == "70"
    (found,) = budgets.describe_notifications_for_budget(AccountId=account, BudgetName="b")["Notifications"]
    assert budgets.describe_subscribers_for_notification(AccountId=account, BudgetName="b", Notification=found)["Subscribers"] == [
        subscriber
    ]
    arn = f"arn:aws:budgets::{account}:budget/b"
    assert budgets.list_tags_for_resource(ResourceARN=arn)["ResourceTags"] == [{"Key": "Project", "Value": "p"}]
    with pytest.raises(AwsError) as caught:
        budgets.update_budget(AccountId=account, NewBudget={**budget, "BudgetName": "other"})
    assert caught.value.code == "NotFoundException"


def test_cost_tags_and_costs(lab_aws: Aws) -> None:
    ce: Any = lab_aws.client("ce", region="us-east-1")
    ce.update_cost_allocation_tags_status(CostAllocationTagsStatus=[{"TagKey": "Project", "Status": "Active"}])
    assert ce.list_cost_allocation_tags(TagKeys=["Project"])["CostAllocationTags"][0]["Status"] == "Active"
    answer = ce.get_cost_and_usage(
        TimePeriod={"Start": "2026-11-01", "End": "2026-11-24"}, Granularity="MONTHLY", Metrics=["UnblendedCost"]
    )
    assert answer["ResultsByTime"][0]["Total"]["UnblendedCost"] == {"Amount": "0", "Unit": "USD"}


def test_the_spot_role_has_its_name(lab_aws: Aws) -> None:
    iam: Any = lab_aws.client("iam")
    iam.create_service_linked_role(AWSServiceName="spot.amazonaws.com")
    assert iam.get_role(RoleName="AWSServiceRoleForEC2Spot")["Role"]["Arn"].endswith("/AWSServiceRoleForEC2Spot")
    with pytest.raises(AwsError) as caught:
        iam.create_service_linked_role(AWSServiceName="spot.amazonaws.com")
    assert caught.value.code == "InvalidInput"


def test_completing_twice_changes_nothing(lab_aws: Aws) -> None:
    from moto.ec2.responses import EC2Response

    from llmlab.sandbox.completion import complete

    before = EC2Response.create_fleet
    complete()
    assert EC2Response.create_fleet is before


def test_a_listing_of_versions_holds_no_bodies(lab_aws: Aws) -> None:
    """Moto's own copies every body for every page, so that a long run's checkpoints once took all of a computer's memory."""
    s3, body = lab_aws.s3, bytes(1 << 20)
    s3.create_bucket(Bucket="many")
    s3.put_bucket_versioning(Bucket="many", VersioningConfiguration={"Status": "Enabled"})
    for number in range(12):
        s3.put_object(Bucket="many", Key=f"k{number % 6}", Body=body)
    tracemalloc.start()
    try:
        listed = [
            version["Size"] for page in s3.get_paginator("list_object_versions").paginate(Bucket="many") for version in page["Versions"]
        ]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert listed == [len(body)] * 12
    assert most < 6 * len(body)
    s3.delete_object(Bucket="many", Key="k0")
    assert s3.get_object(Bucket="many", Key="k1")["Body"].read() == body


def test_a_topic_of_the_same_tags_is_made_again(lab_aws: Aws) -> None:
    """In whatever order: a request whose answer was lost is sent again. Other tags are refused."""
    client: Any = lab_aws.client("sns")
    tags = [{"Key": "Project", "Value": "p"}, {"Key": "Lab", "Value": "l"}]
    arns = {client.create_topic(Name="t", Tags=given)["TopicArn"] for given in (tags, tags, tags[::-1])}
    assert len(arns) == 1
    with pytest.raises(AwsError, match="already exists with different tags"):
        client.create_topic(Name="t", Tags=tags[:1])
