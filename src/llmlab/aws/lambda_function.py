"""The watchdog as a Lambda function."""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llmlab.aws import rates
from llmlab.aws.buckets import OutputsBucket
from llmlab.aws.instance_overhead import MONTH_HOURS
from llmlab.aws.log_group import LogGroup
from llmlab.aws.owned import AwsResource, Leftover, if_ours, to_list
from llmlab.aws.pages import every
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere
from llmlab.aws.rates import Uses
from llmlab.aws.role import Role
from llmlab.aws.session import Aws, NotFound
from llmlab.contract import FAILED_EVENTS, Names
from llmlab.infra.resource import Properties

HANDLER = "llmlab.watchdog.handler.handler"
RUNTIME = "python3.12"
TIMEOUT_SECONDS = 300
MEMORY_MIB = 256
NOT_YET = ("cannot be assumed by Lambda", "KMS key is invalid for CreateGrant")
"""Words of Lambda's errors while it does not see a new role: about the role, and about the key for the environment's variables.
https://github.com/hashicorp/terraform-provider-aws/issues/4633, https://github.com/aws/chalice/pull/1069"""
NOT_ALLOWED = ("doesn't have permissions", "does not have permissions")
"""Words of Lambda's errors about a destination that the role may not write to, or whose permission Lambda does not see yet.
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"""
CONFIGURATION = ("runtime", "handler", "role", "timeout seconds", "memory MiB", "environment")
BUCKET = "arn:aws:s3:::"
EVENT_SECONDS = 3600
"""How long an event is tried again; an hour later the sweep has come by."""
SWEEPS = MONTH_HOURS
SWEEP_SECONDS = 5.0
"""Assumed seconds of a sweep over a lab in which nothing runs: a cold start and two listings take less."""
LOOKS = 60 * MONTH_HOURS
LOOK_SECONDS = 1.0
"""Assumed seconds of the look of every minute: one call of EC2, by a function that is warm."""
CALL_LOG_BYTES = 1000
"""Bytes that a call logs: a line of the watchdog's, and the three of Lambda's own."""


@dataclass(frozen=True, kw_only=True)
class Function(AwsResource):
    """The watchdog: ends instances past their deadline and resumes interrupted runs. Its zip is reproducible: same bytes, no update.

    The facts about its lab are in the zip. Variables of its environment would be encrypted with a key granted to one role's id, so that
    the function would be dead once somebody deletes the role and bootstrap makes it anew under the same name.
    https://github.com/hashicorp/terraform-provider-aws/issues/6352
    """

    kind = "function"
    role: Role
    log_group: LogGroup
    code: bytes = field(repr=False)
    failures: OutputsBucket

    @property
    def name(self) -> str:
        return self.names.watchdog

    @property
    def arn(self) -> str:
        return self.names.arn("lambda", f"function:{self.name}")

    @property
    def client(self) -> Any:
        return self.aws.client("lambda")

    def desired(self) -> Properties:
        return {
            "code": _short(hashlib.sha256(self.code).digest()),
            "runtime": RUNTIME,
            "handler": HANDLER,
            "role": self.role.arn,
            "timeout seconds": TIMEOUT_SECONDS,
            "memory MiB": MEMORY_MIB,
            "environment": {},
            "failed events": f"kept in {self._destination}",
        }

    @property
    def _destination(self) -> str:
        return f"s3://{self.failures.name}/{FAILED_EVENTS}"

    def read(self) -> Properties | None:
        try:
            configuration = self.client.get_function(FunctionName=self.name)["Configuration"]
        except NotFound:
            return None
        return {
            "code": _short(base64.b64decode(configuration["CodeSha256"])),
            "runtime": configuration.get("Runtime"),  # a function that is a container image has neither, and is somebody's
            "handler": configuration.get("Handler"),
            "role": configuration["Role"],
            "timeout seconds": configuration["Timeout"],
            "memory MiB": configuration["MemorySize"],
            "environment": configuration.get("Environment", {}).get("Variables", {}),
            "failed events": self._failures(),
        }

    def _failures(self) -> str | None:
        try:
            answer = self.client.get_function_event_invoke_config(FunctionName=self.name)
        except NotFound:
            return None
        destination = answer.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        return f"kept in {_bucket(destination)}" if destination and answer.get("MaximumEventAgeInSeconds") == EVENT_SECONDS else None

    def tags(self) -> Mapping[str, str]:
        tags: Mapping[str, str] = self.client.get_function(FunctionName=self.name).get("Tags", {})
        return tags

    def create(self) -> None:
        self.persist(
            lambda: self.client.create_function(
                FunctionName=self.name, Code={"ZipFile": self.code}, Tags=self.names.tags, PackageType="Zip", **self._configuration()
            ),
            NOT_YET,
            "Lambda seeing its new role",
        )
        self._settled()

    def _configuration(self) -> dict[str, Any]:
        return {
            "Role": self.role.arn,
            "Runtime": RUNTIME,
            "Handler": HANDLER,
            "Timeout": TIMEOUT_SECONDS,
            "MemorySize": MEMORY_MIB,
            "Environment": {"Variables": {}},
            "Description": f"llmlab lab {self.names.lab}: watchdog",
        }

    def _settled(self) -> None:
        """Wait for the last update to end: Lambda refuses another while it is under way."""

        def ready() -> bool:
            configuration = self.client.get_function_configuration(FunctionName=self.name)
            return configuration.get("State", "Active") == "Active" and bool(configuration.get("LastUpdateStatus") != "InProgress")

        self.wait(ready, "the function becoming active", seconds=180)

    def update(self, differs: Properties) -> None:
        if "code" in differs:
            self._settled()
            self.client.update_function_code(FunctionName=self.name, ZipFile=self.code)
        if differs.keys() & set(CONFIGURATION):
            self._settled()
            self.persist(
                lambda: self.client.update_function_configuration(FunctionName=self.name, **self._configuration()),
                NOT_YET,
                "Lambda seeing its new role",
            )
        self._settled()
        if "failed events" in differs:
            self.persist(self._keep_failures, NOT_ALLOWED, "Lambda seeing what its role may do")

    def _keep_failures(self) -> None:
        self.client.put_function_event_invoke_config(
            FunctionName=self.name,
            MaximumRetryAttempts=2,
            MaximumEventAgeInSeconds=EVENT_SECONDS,
            DestinationConfig={"OnFailure": {"Destination": f"{BUCKET}{self.failures.name}"}},
        )

    def delete(self) -> None:
        self.client.delete_function(FunctionName=self.name)

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterator[Leftover]:
        client, name = aws.client("lambda"), aws.names.watchdog
        for function in every(client, "list_functions", "Functions"):
            if function["FunctionName"] == name:
                yield from if_ours(aws, cls.kind, name, to_list(client.get_function(FunctionName=name).get("Tags", {})))

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        """The calls of every hour and of every minute.

        A sweep lists the runs and those that ended; it measures nothing where no instance is. The look of every minute asks EC2 alone.
        """
        return (
            (SWEEPS + LOOKS, rates.INVOCATION),
            ((SWEEPS * SWEEP_SECONDS + LOOKS * LOOK_SECONDS) * MEMORY_MIB / 1024, rates.FUNCTION_SECOND),
            (2 * SWEEPS, rates.LIST_REQUEST),
            ((SWEEPS + LOOKS) * CALL_LOG_BYTES / rates.GB, rates.LOG_INGESTED),
        )

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        keep = actions(
            "lambda",
            "CreateFunction",
            "DeleteFunction",
            "GetFunction",
            "GetFunctionConfiguration",
            "GetFunctionEventInvokeConfig",
            "PutFunctionEventInvokeConfig",
            "TagResource",
            "UpdateFunctionCode",
            "UpdateFunctionConfiguration",
        )
        return [
            allow_anywhere("List", "lambda:ListFunctions"),
            allow("KeepFunction", keep, names.arn("lambda", f"function:{names.watchdog}")),
        ]


def _short(digest: bytes) -> str:
    """Enough of a SHA-256 to tell two zips apart, as a plan shows it."""
    return f"sha256 {digest.hex()[:16]}"


def _bucket(destination: str) -> str:
    """A bucket's ARN as the place where Lambda keeps events in it; another ARN as it is."""
    return f"s3://{destination.removeprefix(BUCKET)}/{FAILED_EVENTS}" if destination.startswith(BUCKET) else destination
