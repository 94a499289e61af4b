"""The lab of the watchdog's tests."""

import pytest

from llmlab import contract
from llmlab.aws.session import Aws
from llmlab.clock import ManualClock, SystemClock
from llmlab.contract import Manifest, Pool, Spec

from .watchdog_lab import KEYS, RUN, Lab


@pytest.fixture
def lab(lab_aws: Aws) -> Lab:
    """Two zones, one instance type, and the spec of a run that has no attempt yet."""
    names, ec2 = lab_aws.names, lab_aws.ec2
    lab_aws.s3.create_bucket(Bucket=names.outputs_bucket)
    lab_aws.s3.put_bucket_versioning(Bucket=names.outputs_bucket, VersioningConfiguration={"Status": "Enabled"})
    lab_aws.client("sns").create_topic(Name=names.topic)
    lab_aws.client("scheduler").create_schedule_group(Name=names.schedule_group)
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.1.{index}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for index, zone in enumerate(("us-east-1a", "us-east-1b"))
    ]
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    ec2.create_launch_template(LaunchTemplateName=names.launch_template, LaunchTemplateData={"ImageId": image})
    pools = tuple(Pool("g6.xlarge", f"us-east-1{letter}", subnet, 0.8, 0.3) for letter, subnet in zip("ab", subnets, strict=True))
    made = Lab(lab_aws, ManualClock(SystemClock().now().replace(microsecond=0)), pools)
    spec = Spec(
        run=RUN, lab=names.lab, region=names.region, account=names.account, recipe={}, data=Manifest("d", (), ""), image="i", ami=image,
        launch_template=names.launch_template, pools=pools, spot=True, max_hours=6, created=contract.build_timestamp(made.clock.now()),
    )  # fmt: skip
    made.write(KEYS.spec, spec)
    return made
