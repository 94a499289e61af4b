"""Which events of EC2 wake the watchdog."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmlab.aws.function import Function
from llmlab.aws.owned import AwsResource, from_list, to_list
from llmlab.aws.session import AwsError, NotFound
from llmlab.infra.resource import Properties

TARGET = "watchdog"
SPOT_INTERRUPTION = {"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interruption Warning"]}
INSTANCE_CHANGED = {
    "source": ["aws.ec2"],
    "detail-type": ["EC2 Instance State-change Notification"],
    "detail": {"state": ["running", "shutting-down", "stopping", "stopped", "terminated"]},
}


@dataclass(frozen=True, kw_only=True)
class EventRule(AwsResource):
    """Events carry no tags, so every instance of the account comes by, and the watchdog looks whose it is."""

    kind = "event rule"
    suffix: str
    pattern: Mapping[str, Any]
    function: Function

    @property
    def name(self) -> str:
        return f"{self.names.lab}-{self.suffix}"

    @property
    def arn(self) -> str:
        return self.names.arn("events", f"rule/{self.name}")

    @property
    def client(self) -> Any:
        return self.aws.client("events")

    def desired(self) -> Properties:
        return {"pattern": self.pattern, "state": "ENABLED", "target": self.function.arn}

    def read(self) -> Properties | None:
        try:
            rule = self.client.describe_rule(Name=self.name)
            targets = {one["Id"]: one["Arn"] for one in self.client.list_targets_by_rule(Rule=self.name)["Targets"]}
        except NotFound:
            return None
        return {"pattern": json.loads(rule.get("EventPattern") or "null"), "state": rule["State"], "target": targets.get(TARGET)}

    def tags(self) -> Mapping[str, str]:
        return from_list(self.client.list_tags_for_resource(ResourceARN=self.arn)["Tags"])

    def create(self) -> None:
        """Create or change it.

        AWS ignores the tags of a call that changes one; but should somebody have just deleted it, that call creates a rule, which without
        tags would be nobody's.
        """
        description, tags = f"llmlab lab {self.names.lab}", to_list(self.names.tags)
        self.client.put_rule(Name=self.name, EventPattern=json.dumps(self.pattern), State="ENABLED", Description=description, Tags=tags)

    def update(self, differs: Properties) -> None:
        if differs.keys() & {"pattern", "state"}:
            self.create()
        if "target" in differs:
            answer = self.client.put_targets(Rule=self.name, Targets=[{"Id": TARGET, "Arn": self.function.arn}])
            if answer.get("FailedEntryCount"):
                raise AwsError(f"{self.key} did not take its target: {answer['FailedEntries'][0].get('ErrorMessage')}", "llmlab bootstrap")

    def delete(self) -> None:
        targets = [one["Id"] for one in self.client.list_targets_by_rule(Rule=self.name)["Targets"]]
        if targets:
            self.client.remove_targets(Rule=self.name, Ids=targets)
        self.client.delete_rule(Name=self.name)
