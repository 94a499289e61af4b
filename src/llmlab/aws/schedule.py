"""The hourly sweep of the watchdog, by EventBridge Scheduler (rules with a schedule are the legacy way)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmlab.aws.function import Function
from llmlab.aws.owned import AwsResource
from llmlab.aws.role import Role
from llmlab.aws.schedule_group import ScheduleGroup
from llmlab.aws.session import NotFound
from llmlab.infra.resource import Properties

SWEEP = {"sweep": True}
"""What the watchdog is handed."""


@dataclass(frozen=True, kw_only=True)
class HourlySweep(AwsResource):
    """Calls the watchdog every hour, for whatever no event told it of."""

    kind = "schedule"
    group: ScheduleGroup
    role: Role
    function: Function

    @property
    def name(self) -> str:
        return f"{self.names.lab}-sweep"

    @property
    def client(self) -> Any:
        return self.aws.client("scheduler")

    def desired(self) -> Properties:
        return {
            "every": "rate(1 hour)",
            "state": "ENABLED",
            "target": self.function.arn,
            "role": self.role.arn,
            "input": SWEEP,
            "retries": 2,
        }

    def read(self) -> Properties | None:
        try:
            found: Mapping[str, Any] = self.client.get_schedule(GroupName=self.group.name, Name=self.name)
        except NotFound:
            return None
        target = found["Target"]
        return {
            "every": found["ScheduleExpression"],
            "state": found.get("State"),
            "target": target["Arn"],
            "role": target["RoleArn"],
            "input": _parsed(target.get("Input")),
            "retries": target.get("RetryPolicy", {}).get("MaximumRetryAttempts"),
        }

    def tags(self) -> Mapping[str, str]:
        return self.group.tags()

    def create(self) -> None:
        self._put(self.client.create_schedule)

    def update(self, differs: Properties) -> None:
        """Whatever differs, a schedule is put whole."""
        self._put(self.client.update_schedule)

    def _put(self, call: Any) -> None:
        policy = {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 2}
        target = {"Arn": self.function.arn, "RoleArn": self.role.arn, "Input": json.dumps(SWEEP), "RetryPolicy": policy}
        self.persist(
            lambda: call(
                GroupName=self.group.name,
                Name=self.name,
                Description=f"llmlab lab {self.names.lab}: hourly sweep",
                ScheduleExpression="rate(1 hour)",
                FlexibleTimeWindow={"Mode": "OFF"},
                State="ENABLED",
                Target=target,
            ),
            ("assume",),
            "EventBridge Scheduler seeing its new role",
        )

    def delete(self) -> None:
        self.client.delete_schedule(GroupName=self.group.name, Name=self.name)


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return text
