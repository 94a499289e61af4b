"""The GPU instance types of the shipped price table, as EC2 describes them: for estimates without an AWS account.

https://docs.aws.amazon.com/ec2/latest/instancetypes/ac.html
"""

from llmlab.aws.instance_types import InstanceType

NOTED = "November 2026"
"""When types and prices were last noted."""
REGION = "us-east-1"
"""The region whose list prices the shipped tables hold."""

TYPES = {
    "g4dn.xlarge": ("T4", 1, 16, 4, 16), "g4dn.2xlarge": ("T4", 1, 16, 8, 32), "g4dn.4xlarge": ("T4", 1, 16, 16, 64),
    "g4dn.8xlarge": ("T4", 1, 16, 32, 128), "g4dn.12xlarge": ("T4", 4, 16, 48, 192), "g4dn.16xlarge": ("T4", 1, 16, 64, 256),
    "g4dn.metal": ("T4", 8, 16, 96, 384), "g5.xlarge": ("A10G", 1, 22.4, 4, 16), "g5.2xlarge": ("A10G", 1, 22.4, 8, 32),
    "g5.4xlarge": ("A10G", 1, 22.4, 16, 64), "g5.8xlarge": ("A10G", 1, 22.4, 32, 128), "g5.12xlarge": ("A10G", 4, 22.4, 48, 192),
    "g5.16xlarge": ("A10G", 1, 22.4, 64, 256), "g5.24xlarge": ("A10G", 4, 22.4, 96, 384), "g5.48xlarge": ("A10G", 8, 22.4, 192, 768),
    "g6.xlarge": ("L4", 1, 22.4, 4, 16), "g6.2xlarge": ("L4", 1, 22.4, 8, 32), "g6.4xlarge": ("L4", 1, 22.4, 16, 64),
    "g6.8xlarge": ("L4", 1, 22.4, 32, 128), "g6.12xlarge": ("L4", 4, 22.4, 48, 192), "g6.16xlarge": ("L4", 1, 22.4, 64, 256),
    "g6.24xlarge": ("L4", 4, 22.4, 96, 384), "g6.48xlarge": ("L4", 8, 22.4, 192, 768), "gr6.4xlarge": ("L4", 1, 22.4, 16, 128),
    "gr6.8xlarge": ("L4", 1, 22.4, 32, 256), "g6e.xlarge": ("L40S", 1, 44.7, 4, 32), "g6e.2xlarge": ("L40S", 1, 44.7, 8, 64),
    "g6e.4xlarge": ("L40S", 1, 44.7, 16, 128), "g6e.8xlarge": ("L40S", 1, 44.7, 32, 256), "g6e.12xlarge": ("L40S", 4, 44.7, 48, 384),
    "g6e.16xlarge": ("L40S", 1, 44.7, 64, 512), "g6e.24xlarge": ("L40S", 4, 44.7, 96, 768), "g6e.48xlarge": ("L40S", 8, 44.7, 192, 1536),
    "p4d.24xlarge": ("A100", 8, 40, 96, 1152), "p4de.24xlarge": ("A100", 8, 80, 96, 1152), "p5.4xlarge": ("H100", 1, 80, 16, 256),
    "p5.48xlarge": ("H100", 8, 80, 192, 2048), "p5en.48xlarge": ("H200", 8, 141, 192, 2048),
    "p6-b200.48xlarge": ("B200", 8, 179.1, 192, 2048),
}  # fmt: skip
"""Name → GPU, how many, GiB of each, vCPUs, GiB of memory."""


def described() -> dict[str, InstanceType]:
    """Every type of the table, by name."""
    return {name: InstanceType(name, *facts, spot=True) for name, facts in TYPES.items()}
