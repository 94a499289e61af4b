"""Spot placement scores: how likely AWS calls spot capacity, from 1 to 10. Below three types they are always low, so none are asked for."""

from collections.abc import Sequence

from llmlab.aws.session import Aws

FEWEST_TYPES = 3
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/how-sps-works.html"""


def scores(aws: Aws, types: Sequence[str]) -> dict[str, int]:
    """The score of each zone of this region for one instance of any of these types; {} below three types.

    Raises:
        AwsError: the scores may not be asked for, or not again today.
    """
    if len(set(types)) < FEWEST_TYPES:
        return {}
    pages = aws.ec2.get_paginator("get_spot_placement_scores").paginate(
        InstanceTypes=list(types), TargetCapacity=1, SingleAvailabilityZone=True, RegionNames=[aws.region]
    )
    by_id = {item["AvailabilityZoneId"]: int(item["Score"]) for page in pages for item in page["SpotPlacementScores"]}
    zones = aws.ec2.describe_availability_zones(Filters=[{"Name": "zone-id", "Values": sorted(by_id)}])["AvailabilityZones"]
    return {zone["ZoneName"]: by_id[zone["ZoneId"]] for zone in zones}
