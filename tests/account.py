"""What an account holds, by each service's own list: nothing of llmlab's own looking is trusted here."""

from llmlab.aws.session import Aws


def everything(aws: Aws) -> set[str]:
    """What exists, whoever owns it, by each service's own list."""
    ec2, iam = aws.ec2, aws.client("iam")
    live = [item for one in ec2.describe_instances()["Reservations"] for item in one["Instances"] if item["State"]["Name"] != "terminated"]
    cloudwatch = aws.client("cloudwatch")
    return {
        *(f"vpc {one['VpcId']}" for one in ec2.describe_vpcs()["Vpcs"]),
        *(f"subnet {one['SubnetId']}" for one in ec2.describe_subnets()["Subnets"]),
        *(f"gateway {one['InternetGatewayId']}" for one in ec2.describe_internet_gateways()["InternetGateways"]),
        *(f"routes {one['RouteTableId']}" for one in ec2.describe_route_tables()["RouteTables"]),
        *(f"group {one['GroupId']}" for one in ec2.describe_security_groups()["SecurityGroups"]),
        *(f"endpoint {one['VpcEndpointId']}" for one in ec2.describe_vpc_endpoints()["VpcEndpoints"] if one["State"].lower() != "deleted"),
        *(f"template {one['LaunchTemplateId']}" for one in ec2.describe_launch_templates()["LaunchTemplates"]),
        *(f"volume {one['VolumeId']}" for one in ec2.describe_volumes()["Volumes"]),
        *(f"instance {one['InstanceId']}" for one in live),
        *(f"bucket {one['Name']}" for one in aws.s3.list_buckets()["Buckets"]),
        *(f"repository {one['repositoryName']}" for one in aws.client("ecr").describe_repositories()["repositories"]),
        *(f"role {one['RoleName']}" for one in iam.list_roles()["Roles"]),
        *(f"profile {one['InstanceProfileName']}" for one in iam.list_instance_profiles()["InstanceProfiles"]),
        *(f"provider {one['Arn']}" for one in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]),
        *(f"logs {one['logGroupName']}" for one in aws.client("logs").describe_log_groups()["logGroups"]),
        *(f"topic {one['TopicArn']}" for one in aws.client("sns").list_topics()["Topics"]),
        *(f"subscription {one['SubscriptionArn']}" for one in aws.client("sns").list_subscriptions()["Subscriptions"]),
        *(f"alarm {one['AlarmName']}" for one in cloudwatch.describe_alarms()["MetricAlarms"]),
        *(f"dashboard {one['DashboardName']}" for one in cloudwatch.list_dashboards()["DashboardEntries"]),
        *(
            f"budget {one['BudgetName']}"
            for one in aws.client("budgets", region="us-east-1").describe_budgets(AccountId=aws.account)["Budgets"]
        ),
        *(f"rule {one['Name']}" for one in aws.client("events").list_rules()["Rules"]),
        *(f"schedule group {one['Name']}" for one in aws.client("scheduler").list_schedule_groups()["ScheduleGroups"]),
        *(f"schedule {one['Name']}" for one in aws.client("scheduler").list_schedules()["Schedules"]),
        *(f"function {one['FunctionName']}" for one in aws.client("lambda").list_functions()["Functions"]),
        *(f"secret {one['Name']}" for one in aws.client("secretsmanager").list_secrets()["SecretList"]),
    }
