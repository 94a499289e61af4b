"""Monthly prices of idle resources, in US dollars: a shipped table of us-east-1's list prices, so every number made from it is approximate.

As last noted in November 2026. Other regions differ by up to a third; the prices of instances, which change often, are looked up.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from llmlab.aws.instance_overhead import ADDRESS_HOUR, GP3_MONTH, MONTH_HOURS


@dataclass(frozen=True)
class Rate:
    """`dollars` for a `unit` a month. `free` of them an account has each month for good; what is free for its first year is not counted."""

    unit: str
    dollars: float
    source: str
    free: float = 0.0


Uses = Iterable[tuple[float, Rate]]
"""What something uses in a month: amounts and their rates; nothing where it is free."""

GB = 1e9

_CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"
_LAMBDA = "https://aws.amazon.com/lambda/pricing/"
_S3 = "https://aws.amazon.com/s3/pricing/"
_EBS = "https://aws.amazon.com/ebs/pricing/"

ALARM = Rate("alarm", 0.10, _CLOUDWATCH, free=10)
DASHBOARD = Rate("dashboard", 3.00, _CLOUDWATCH, free=3)
LOG_INGESTED = Rate("GB of log lines", 0.50, _CLOUDWATCH, free=5)
LOG_STORED = Rate("GB of stored logs", 0.03, _CLOUDWATCH, free=5)
INVOCATION = Rate("invocation", 0.20 / 1_000_000, _LAMBDA, free=1_000_000)
FUNCTION_SECOND = Rate("GB-second", 0.0000166667, _LAMBDA, free=400_000)
SCHEDULE = Rate("scheduled call", 1.00 / 1_000_000, "https://aws.amazon.com/eventbridge/pricing/", free=14_000_000)
SECRET = Rate("secret", 0.40, "https://aws.amazon.com/secrets-manager/pricing/")
IMAGE = Rate("GB of images", 0.10, "https://aws.amazon.com/ecr/pricing/")
LIST_REQUEST = Rate("list request", 0.005 / 1000, _S3)
READ_REQUEST = Rate("read request", 0.0004 / 1000, _S3)
VOLUME = Rate("GB of disk", GP3_MONTH, _EBS)
SNAPSHOT = Rate("GB of snapshot", 0.05, _EBS)
ADDRESS = Rate("address", ADDRESS_HOUR * MONTH_HOURS, "https://aws.amazon.com/vpc/pricing/")

STORAGE = {
    "StandardStorage": Rate("GB standard", 0.023, _S3),
    "IntelligentTieringFAStorage": Rate("GB frequently read", 0.023, _S3),
    "IntelligentTieringIAStorage": Rate("GB seldom read", 0.0125, _S3),
    "IntelligentTieringAIAStorage": Rate("GB hardly read", 0.004, _S3),
    "StandardIAStorage": Rate("GB seldom read", 0.0125, _S3),
    "GlacierInstantRetrievalStorage": Rate("GB hardly read", 0.004, _S3),
    "GlacierStorage": Rate("GB in Glacier", 0.0036, _S3),
    "DeepArchiveStorage": Rate("GB in deep archive", 0.00099, _S3),
}
"""By CloudWatch's name of the storage class.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/metrics-dimensions.html#s3-cloudwatch-dimensions"""
