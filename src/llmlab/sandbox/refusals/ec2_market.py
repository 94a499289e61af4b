"""What EC2 cannot give: pools without capacity, and more than an account may have. `market` finds out, by what tests have set."""

from llmlab.sandbox.refusals.ec2_launch import API, GUIDE, LAUNCH
from llmlab.sandbox.refusals.rule import Rule, Until

ERRORS = f"{API}errors-overview.html"

ROWS = (
    Rule(
        name="type-not-in-zone",
        operations=LAUNCH,
        when="the zone does not offer the instance type",
        code="Unsupported",
        message="Your requested instance type ({kind}) is not supported in your requested Availability Zone ({zone}).",
        source="https://github.com/fedora-copr/copr/issues/3279",
        until=Until.SUPPLY,
    ),
    Rule(
        name="spot-quota",
        operations=LAUNCH,
        when="the vCPUs of the account's spot requests would exceed their quota",
        code="MaxSpotInstanceCountExceeded",
        message="Max spot instance count exceeded",
        source="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-spot-limits.html",
        until=Until.OWNER,
    ),
    Rule(
        name="on-demand-quota",
        operations=LAUNCH,
        when="the vCPUs of the account's on-demand instances would exceed their quota",
        code="VcpuLimitExceeded",
        message="You have requested more vCPU capacity than your current vCPU limit of {limit} allows for the instance bucket that the "
        "specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to "
        "this limit.",
        source=f"{GUIDE}ec2-on-demand-instances.html",
        until=Until.OWNER,
    ),
    Rule(
        name="no-capacity",
        operations=LAUNCH,
        when="the pool has no instance to give",
        code="InsufficientInstanceCapacity",
        message="We currently do not have sufficient {kind} capacity in the Availability Zone you requested ({zone}).",
        source=f"{GUIDE}troubleshooting-launch.html",
        until=Until.SUPPLY,
    ),
    Rule(
        name="unfulfillable-capacity",
        operations=LAUNCH,
        when="a fleet cannot be filled as it was asked for",
        code="UnfulfillableCapacity",
        message="Unable to fulfill capacity due to your request configuration. Please adjust your request and try again.",
        source="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-fleet-requests.html",
        until=Until.SUPPLY,
    ),
    Rule(
        name="spot-price-too-low",
        operations=LAUNCH,
        when="the pool's spot price is over the highest that the request would pay",
        code="SpotMaxPriceTooLow",
        message="Your Spot request price of 0.001 is lower than the minimum required Spot request fulfillment price of 0.2.",
        source=ERRORS,
        until=Until.SUPPLY,
    ),
    Rule(
        name="launches-asked-for-too-often",
        operations=LAUNCH,
        when="the account's calls come faster than EC2 takes them",
        code="RequestLimitExceeded",
        message="Request limit exceeded.",
        source="https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html",
        until=Until.WAITING,
    ),
)
BY_CODE = {rule.code: rule.name for rule in ROWS}
"""For pools that tests have refused with a code."""
