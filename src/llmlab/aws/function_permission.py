"""The function's resource policy: which event rules may call the watchdog, besides the scheduler's role."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmlab.aws import policies_documents
from llmlab.aws.event_rule import EventRule
from llmlab.aws.lambda_function import Function
from llmlab.aws.owned import AwsResource, Leftover
from llmlab.aws.policies_documents import Policy, actions, allow
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws, NotFound
from llmlab.contract import Names
from llmlab.infra.resource import Properties


@dataclass(frozen=True, kw_only=True)
class FunctionPermission(AwsResource):
    """One statement of the function's own policy for each rule."""

    kind = "function permission"
    function: Function
    rules: tuple[EventRule, ...]

    @property
    def name(self) -> str:
        return self.function.name

    @property
    def client(self) -> Any:
        return self.aws.client("lambda")

    def desired(self) -> Properties:
        return {rule.name: f"events.amazonaws.com for {rule.arn}" for rule in self.rules}

    def read(self) -> Properties | None:
        statements = {statement.get("Sid"): statement for statement in self._statements()}
        callers = {rule.name: _in_words(statements[rule.name]) for rule in self.rules if rule.name in statements}
        return {rule.name: callers.get(rule.name) for rule in self.rules} if callers else None

    def _statements(self) -> list[dict[str, Any]]:
        try:
            return policies_documents.statements(json.loads(self.client.get_policy(FunctionName=self.function.name)["Policy"]))
        except NotFound:
            return []

    def tags(self) -> Mapping[str, str]:
        return self.function.tags()

    def create(self) -> None:
        self._add(self.rules[0])

    def _add(self, rule: EventRule) -> None:
        self.client.add_permission(
            FunctionName=self.function.name,
            StatementId=rule.name,
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=rule.arn,
        )

    def update(self, differs: Properties) -> None:
        existing = {statement.get("Sid") for statement in self._statements()}
        for rule in self.rules:
            if rule.name in differs:
                if rule.name in existing:
                    self.client.remove_permission(FunctionName=self.function.name, StatementId=rule.name)
                self._add(rule)

    def delete(self) -> None:
        for statement in self._statements():
            if statement.get("Sid") in self.desired():
                self.client.remove_permission(FunctionName=self.function.name, StatementId=statement["Sid"])

    @classmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        """None: it goes with its function."""
        return ()

    @classmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        return ()

    @classmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        keep = actions("lambda", "AddPermission", "GetPolicy", "RemovePermission")
        return [allow("KeepFunction", keep, names.arn("lambda", f"function:{names.watchdog}"))]


def _in_words(statement: Mapping[str, Any]) -> str:
    principal = statement.get("Principal", {})
    service = principal.get("Service") if isinstance(principal, dict) else principal
    conditions = statement.get("Condition", {})
    source = next((values[key] for values in conditions.values() for key in values if key.lower() == "aws:sourcearn"), None)
    return f"{service} for {source}"
