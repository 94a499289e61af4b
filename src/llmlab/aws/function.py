"""The watchdog as a Lambda function."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmlab.aws.log_group import LogGroup
from llmlab.aws.owned import AwsResource
from llmlab.aws.role import Role
from llmlab.aws.session import NotFound
from llmlab.infra.resource import Properties

HANDLER = "llmlab.watchdog.handler.handler"
RUNTIME = "python3.12"
TIMEOUT_SECONDS = 300
MEMORY_MIB = 256
NOT_YET = ("cannot be assumed by Lambda", "KMS key is invalid for CreateGrant")
"""What Lambda says while it does not know a new role: of the role itself, and of the key for the environment's variables.
https://github.com/hashicorp/terraform-provider-aws/issues/4633, https://github.com/aws/chalice/pull/1069"""
CONFIGURATION = ("runtime", "handler", "role", "timeout seconds", "memory MiB", "environment")


@dataclass(frozen=True, kw_only=True)
class Function(AwsResource):
    """Ends what outlived its deadline and starts again what was interrupted. Its zip is reproducible: same bytes, no update."""

    kind = "function"
    role: Role
    log_group: LogGroup
    code: bytes = field(repr=False)
    environment: Mapping[str, str]

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
            "environment": dict(self.environment),
        }

    def read(self) -> Properties | None:
        try:
            found = self.client.get_function(FunctionName=self.name)["Configuration"]
        except NotFound:
            return None
        return {
            "code": _short(base64.b64decode(found["CodeSha256"])),
            "runtime": found.get("Runtime"),  # a function that is a container image has neither, and is somebody's
            "handler": found.get("Handler"),
            "role": found["Role"],
            "timeout seconds": found["Timeout"],
            "memory MiB": found["MemorySize"],
            "environment": found.get("Environment", {}).get("Variables", {}),
        }

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
            "Environment": {"Variables": dict(self.environment)},
            "Description": f"llmlab lab {self.names.lab}: watchdog",
        }

    def _settled(self) -> None:
        """Lambda refuses an update while the one before is under way."""

        def ready() -> bool:
            found = self.client.get_function_configuration(FunctionName=self.name)
            return found.get("State", "Active") == "Active" and bool(found.get("LastUpdateStatus") != "InProgress")

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

    def delete(self) -> None:
        self.client.delete_function(FunctionName=self.name)


def _short(digest: bytes) -> str:
    """Enough of a SHA-256 to tell two zips apart, as a plan shows it."""
    return f"sha256 {digest.hex()[:16]}"
