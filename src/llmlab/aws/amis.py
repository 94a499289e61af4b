"""Machine images: AWS publishes the id of the newest one of each kind as a public parameter of Systems Manager."""

from llmlab.aws.session import Aws, NotFound
from llmlab.errors import LabError


def parameter(ubuntu: str) -> str:
    """The parameter of the Deep Learning Base OSS Nvidia Driver GPU AMI for an Ubuntu release (x86).

    https://docs.aws.amazon.com/dlami/latest/devguide/aws-deep-learning-x86-base-gpu-ami-ubuntu-22-04.html
    """
    return f"/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-{ubuntu}/latest/ami-id"


def newest(aws: Aws, ubuntu: str) -> str:
    """The id of the newest image for an Ubuntu release.

    Raises:
        LabError: AWS publishes none in this region.
    """
    try:
        return str(aws.client("ssm").get_parameter(Name=parameter(ubuntu))["Parameter"]["Value"])
    except NotFound as error:
        raise LabError(f"AWS publishes no GPU image for Ubuntu {ubuntu} in {aws.region}", "LLMLAB_UBUNTU=24.04 llmlab bootstrap") from error
