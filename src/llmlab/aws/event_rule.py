"""EventBridge rules that call the watchdog: on events of EC2, and by the clock."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from llmlab.aws.lambda_function import Function
from llmlab.aws.owned import AwsResource, Leftover, from_list, if_ours, to_list
from llmlab.aws.pages import every
from llmlab.aws.policies_documents import Policy, actions, allow, allow_anywhere
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws, AwsError, NotFound
from llmlab.contract import Names
from llmlab.infra.resource import Properties

TARGET = "watchdog"
MOST_REMOVED = 100
"""Targets that one RemoveTargets takes. https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_RemoveTargets.html"""
SPOT_INTERRUPTION = {"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interruption Warning"]}
INSTANCE_CHANGED = {
    "source": ["aws.ec2"],
    "detail-type": ["EC2 Instance State-change Notification"],
    "detail": {"state": ["running", "shutting-down", "stopping", "stopped", "terminated"]},
}


class RuleSuffix(StrEnum):
    """How the name of each rule of the lab ends. The operator may change these alone: another lab's name may begin like this one's."""

    SPOT_INTERRUPTION = "spot-interruption"
    INSTANCE_ENDED = "instance-ended"
    SWEEP = "sweep"
    OVERDUE = "overdue"


@dataclass(frozen=True, kw_only=True)
class EventRule(AwsResource):
    """An EventBridge rule that calls the watchdog: for every instance of the account, as events carry no tags to filter by.

    A rule calls the function by the function's own policy: it needs neither a role nor a group, which EventBridge Scheduler's deadlines do.
    """

    kind = "event rule"
    suffix: RuleSuffix
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

    def when(self) -> Mapping[str, Any]:
        """The event pattern or the schedule, as PutRule takes it."""
        raise NotImplementedError

    def target(self) -> Mapping[str, Any]:
        """The function that it calls, and with which input, as PutTargets takes it."""
        return {"Id": TARGET, "Arn": self.function.arn}

    def read(self) -> Properties | None:
        try:
            rule = self.client.describe_rule(Name=self.name)
            targets = {target["Id"]: target for target in self._targets()}
        except NotFound:
            return None
        return self.properties(rule, targets.get(TARGET, {}))

    def properties(self, rule: Mapping[str, Any], target: Mapping[str, Any]) -> Properties:
        """The properties of a rule and its target, as AWS describes them."""
        return {"state": rule.get("State"), "target": target.get("Arn")}

    def tags(self) -> Mapping[str, str]:
        return from_list(self.client.list_tags_for_resource(ResourceARN=self.arn)["Tags"])

    def create(self) -> None:
        """Create or change it.

        AWS ignores the tags of a call that changes one; but should somebody have just deleted it, that call creates a rule, which without
        tags would be nobody's.
        """
        description, tags = f"llmlab lab {self.names.lab}", to_list(self.names.tags)
        self.client.put_rule(Name=self.name, State="ENABLED", Description=description, Tags=tags, **self.when())

    def update(self, differs: Properties) -> None:
        if differs.keys() - {"target", "input"}:
            self.create()
        if differs.keys() & {"target", "input"}:
            answer = self.client.put_targets(Rule=self.name, Targets=[self.target()])
            self._all_done(answer, "did not take its target", "llmlab bootstrap")

    def delete(self) -> None:
        targets = [target["Id"] for target in self._targets()]
        for start in range(0, len(targets), MOST_REMOVED):
            answer = self.client.remove_targets(Rule=self.name, Ids=targets[start : start + MOST_REMOVED])
            self._all_done(answer, "did not give up its target", "llmlab teardown")
        self.client.delete_rule(Name=self.name)

    def _targets(self) -> list[Mapping[str, Any]]:
        return every(self.client, "list_targets_by_rule", "Targets", Rule=self.name)

    def _all_done(self, answer: Mapping[str, Any], words: str, hint: str) -> None:
        """Raise for what EventBridge has not done although it answered 200.

        https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_RemoveTargets.html
        """
        if answer.get("FailedEntryCount"):
            failure = answer["FailedEntries"][0]
            message = f"{self.key} {words} {failure.get('TargetId')}: {failure.get('ErrorMessage')}"
            raise AwsError(message, hint, code=failure.get("ErrorCode", ""))

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterator[Leftover]:
        client = aws.client("events")
        for rule in every(client, "list_rules", "Rules", NamePrefix=f"{aws.lab}-"):
            yield from if_ours(aws, cls.kind, rule["Name"], client.list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"])

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()  # events of AWS's own services and of the clock are free

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        keep = actions(
            "events",
            "DeleteRule",
            "DescribeRule",
            "ListTagsForResource",
            "ListTargetsByRule",
            "PutRule",
            "PutTargets",
            "RemoveTargets",
            "TagResource",
        )
        rules = [names.arn("events", f"rule/{names.lab}-{suffix}") for suffix in RuleSuffix]
        return [allow_anywhere("List", "events:ListRules"), allow("KeepRules", keep, rules)]


@dataclass(frozen=True, kw_only=True)
class Ec2Events(EventRule):
    """The rule that calls the watchdog when EC2 says that an instance is about to be interrupted, or changes its state."""

    pattern: Mapping[str, Any]

    def when(self) -> Mapping[str, Any]:
        return {"EventPattern": json.dumps(self.pattern)}

    def desired(self) -> Properties:
        return {"pattern": self.pattern, "state": "ENABLED", "target": self.function.arn}

    def properties(self, rule: Mapping[str, Any], target: Mapping[str, Any]) -> Properties:
        return {"pattern": json.loads(rule.get("EventPattern") or "null"), **super().properties(rule, target)}


@dataclass(frozen=True, kw_only=True)
class Clockwork(EventRule):
    """A rule that calls by the clock, whatever events were lost: every hour to look at all, every minute for overdue instances."""

    every: str
    event: Mapping[str, Any]

    def when(self) -> Mapping[str, Any]:
        return {"ScheduleExpression": self.every}

    def target(self) -> Mapping[str, Any]:
        return {**super().target(), "Input": json.dumps(self.event)}

    def desired(self) -> Properties:
        return {"every": self.every, "state": "ENABLED", "target": self.function.arn, "input": self.event}

    def properties(self, rule: Mapping[str, Any], target: Mapping[str, Any]) -> Properties:
        return {
            "every": rule.get("ScheduleExpression"),
            **super().properties(rule, target),
            "input": _parsed(target.get("Input")),
        }


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return text
