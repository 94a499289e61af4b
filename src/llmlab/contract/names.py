"""Names of a lab's tags, resources and metrics, and the version of the contract."""

import re
from dataclasses import dataclass
from enum import StrEnum

VERSION = 1
PROJECT = "llm-tuning-lab"
"""The value of the `Project` tag, and the default lab name."""

IMAGE_LABEL = "llmlab.contract"
"""The label in which a training image says which `VERSION` its programs have."""

HF_TOKEN = "hf-token"  # noqa: S105 - a name
"""The name of the secret with which the agent fetches gated models."""

WEBHOOK_URL = "webhook-url"
"""The name of the secret that says where notices are posted."""


class Tag(StrEnum):
    """Tag keys. `Project` is ownership, `Lab` tells two labs of one account apart, the rest belong to instances."""

    PROJECT = "Project"
    LAB = "Lab"
    NAME = "Name"
    RUN = "Run"
    ATTEMPT = "Attempt"
    DEADLINE = "Deadline"
    """When the instance must be gone, as seconds since 1970 (UTC)."""
    KEEP = "KeepUntilDeadline"
    """Present on runs started with `--no-auto-shutdown`."""


class LogStream(StrEnum):
    """The four logs of a lab. In the first three, a log stream of CloudWatch is named by `log_stream_name`."""

    SETUP = "setup"
    TRAINING = "training"
    AGENT = "agent"
    WATCHDOG = "watchdog"


@dataclass(frozen=True)
class Names:
    """The deterministic name of everything a lab owns in one account and region."""

    lab: str
    account: str
    region: str

    @property
    def prefix(self) -> str:
        """Global services (IAM, budgets, dashboards) need the region in the name, so that one lab name may live in two regions."""
        return f"{self.lab}-{self.region}"

    @property
    def tags(self) -> dict[str, str]:
        return {Tag.PROJECT: PROJECT, Tag.LAB: self.lab}

    @property
    def data_bucket(self) -> str:
        return f"{self.lab}-data-{self.account}-{self.region}"

    @property
    def outputs_bucket(self) -> str:
        return f"{self.lab}-outputs-{self.account}-{self.region}"

    @property
    def repository(self) -> str:
        return f"{self.lab}-training"

    @property
    def agent_repository(self) -> str:
        """The repository of the agent's own image."""
        return f"{self.lab}-agent"

    @property
    def repositories(self) -> tuple[str, str]:
        return self.repository, self.agent_repository

    @property
    def registry(self) -> str:
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com"

    @property
    def instance_role(self) -> str:
        return f"{self.prefix}-instance"

    @property
    def watchdog_role(self) -> str:
        return f"{self.prefix}-watchdog"

    @property
    def scheduler_role(self) -> str:
        return f"{self.prefix}-scheduler"

    @property
    def github_role(self) -> str:
        return f"{self.prefix}-github-push"

    @property
    def launch_template(self) -> str:
        return f"{self.lab}-run"

    @property
    def security_group(self) -> str:
        return f"{self.lab}-run"

    @property
    def vpc(self) -> str:
        return f"{self.lab}-vpc"

    @property
    def watchdog(self) -> str:
        """The Lambda function."""
        return f"{self.lab}-watchdog"

    @property
    def topic(self) -> str:
        return f"{self.lab}-alerts"

    @property
    def budget(self) -> str:
        return f"{self.prefix}-monthly"

    @property
    def dashboard(self) -> str:
        """Dashboards are global: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html."""
        return self.prefix

    @property
    def schedule_group(self) -> str:
        return self.lab

    @property
    def metrics(self) -> str:
        """The CloudWatch namespace of the lab's own metrics."""
        return f"{self.lab}"

    def log_group(self, stream: LogStream) -> str:
        return f"/aws/lambda/{self.watchdog}" if stream is LogStream.WATCHDOG else f"/{self.lab}/{stream}"

    def secret(self, name: str) -> str:
        return f"{self.lab}/{name}"

    def secret_arn(self, name: str) -> str:
        """The ARN pattern of one secret in a policy: the ARN ends in six characters that Secrets Manager chooses.

        https://docs.aws.amazon.com/secretsmanager/latest/userguide/permissions_grant-limited-resources.html
        """
        return self.arn("secretsmanager", f"secret:{self.secret(name)}-??????")

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def role_arn(self, role: str) -> str:
        return f"arn:aws:iam::{self.account}:role/{role}"


class Metric(StrEnum):
    """CloudWatch metrics in the namespace `Names.metrics`. The agent's carry the dimension `Run`, the watchdog's none."""

    LOSS = "Loss"
    TOKENS_PER_SECOND = "TokensPerSecond"
    STEP = "Step"
    GPU_PERCENT = "GpuPercent"
    GPU_MEMORY_GIB = "GpuMemoryGib"
    COST = "CostDollars"
    """What a run has cost so far, over all its attempts."""
    RUN_AGE_MINUTES = "RunAgeMinutes"
    """Age of the oldest live instance, 0 without one."""
    ACTIVE_INSTANCES = "ActiveInstances"
    FAILED_RUNS = "FailedRuns"
    """Runs that ended with FAILURE, one datum each, when they end; 0 at every sweep."""


def parse_number(text: str) -> int | None:
    """Parse the number in a tag, None where it has none. `str.isdigit` accepts digits that `int` does not, such as ²."""
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else None
