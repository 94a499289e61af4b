"""EC2: refusals for lack of capacity or quota. `market` raises them, by the capacity and quotas that tests have set."""

from typing import Any

from llmlab.sandbox.completion import kept
from llmlab.sandbox.refusals.ec2_launch import API, GUIDE, LAUNCH
from llmlab.sandbox.refusals.rule import Call, On, Rule, Until

ERRORS = f"{API}errors-overview.html"

QUOTAS = "https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html"


def _open_request(call: Call) -> bool:
    requests = kept(call.backend("service-quotas"), "requests").values()
    return any(request["QuotaCode"] == call.values["QuotaCode"] and request["Status"] in {"PENDING", "CASE_OPENED"} for request in requests)


def _with_p6(call: Call, result: Any) -> Any:
    own = {"ServiceCode": "ec2", "QuotaCode": "L-00000P6S", "QuotaName": "All P6 Spot Instance Requests", "Value": 0.0, "Unit": "None"}
    result.result["Quotas"].append(own)
    return result


ROWS = (
    Rule(
        name="p6-spot-quota-of-its-own",
        operations=("service-quotas:ListServiceQuotas",),
        when="the quotas are listed; whether P6 spot has one of its own is not certain",
        code="",
        message="there is a quota All P6 Spot Instance Requests",
        source=QUOTAS,
        applies=lambda call: call.values.get("ServiceCode") == "ec2",
        alters=_with_p6,
        on=On.NAMED,
    ),
    Rule(
        name="p5-spot-quota",
        operations=LAUNCH,
        when="the vCPUs of P5 spot requests would exceed their own quota, L-C4BD4855, whatever that of P4, P3 and P2 is",
        code="MaxSpotInstanceCountExceeded",
        message="Max spot instance count exceeded",
        source=QUOTAS,
        until=Until.OWNER,
    ),
    Rule(
        name="spot-vcpus-freed-late",
        operations=LAUNCH,
        when="spot instances of the account ended minutes ago, and their requests count still",
        code="MaxSpotInstanceCountExceeded",
        message="Max spot instance count exceeded",
        source=f"{GUIDE}using-spot-limits.html",
        on=On.NAMED,
        until=Until.WAITING,
        amount=300,
    ),
    Rule(
        name="quotas-of-a-new-account",
        operations=("service-quotas:GetServiceQuota", "service-quotas:ListServiceQuotas", *LAUNCH),
        when="the account has asked for no GPU instances yet",
        code="",
        message="the quotas of G and P instances are 0, on demand and spot",
        source=QUOTAS,
        on=On.NEW_ACCOUNT,
        until=Until.OWNER,
    ),
    Rule(
        name="quota-asked-for-already",
        operations=("service-quotas:RequestServiceQuotaIncrease",),
        when="a request for this quota is open",
        code="ResourceAlreadyExistsException",
        message="Only one open service quota increase request is allowed per quota.",
        source="https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_RequestServiceQuotaIncrease.html",
        applies=_open_request,
        until=Until.WAITING,
    ),
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
BY_CODE = {rule.code: rule.name for rule in ROWS if rule.on is On.ALWAYS and rule.name != "p5-spot-quota"}
"""Error code → row, for pools that tests have refused with a code."""
