"""EventBridge, simulated: the targets of rules whose pattern matches an event are called, and those of schedules that are due.

Moto only stores rules and schedules; this module delivers to their targets. Asynchronous calls of a function that fail are tried twice
again, after one and two minutes, as Lambda does.
"""

import json
import logging
import re
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from llmlab.sandbox import completion_lambda
from llmlab.sandbox.completion import LOCK
from llmlab.sandbox.timetable import Timetable

LOG = logging.getLogger(__name__)
RETRY_SECONDS = (60, 120)
Api = Callable[[str, str, str, dict[str, Any]], None]
"""Called with region, service, operation (as in `terminateInstances`) and parameters: a universal target of Scheduler."""


class Events:
    """Delivers events to the targets of rules and schedules, on threads of its own."""

    def __init__(self, timetable: Timetable, api: Api) -> None:
        self.timetable = timetable
        self.api = api
        self.pool = _pool()
        self.delivered: list[dict[str, Any]] = []

    def emit(self, backend: Any, detail_type: str, detail: dict[str, Any]) -> None:
        """Publish an event of EC2. `backend` is moto's, for the account and region."""
        region, account = backend.region_name, backend.account_id
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": "aws.ec2",
            "account": account,
            "time": self.timetable.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": region,
            "resources": [f"arn:aws:ec2:{region}:{account}:instance/{detail['instance-id']}"],
            "detail": detail,
        }
        with LOCK:
            for target in self._targets(event):
                self.deliver(target["Arn"], _input(target, event), region, account)

    def _targets(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        from moto.events.models import events_backends

        buses = events_backends[event["account"]][event["region"]].event_buses
        rules = buses["default"].rules.values()
        return [
            target
            for rule in rules
            if rule.state == "ENABLED" and rule.event_pattern.get_pattern() and rule.event_pattern.matches_event(event)
            for target in rule.targets
        ]

    def deliver(self, arn: str, payload: Any, region: str, account: str) -> None:
        """Queue the call of a target."""
        self.delivered.append({"target": arn, "payload": payload})
        self.pool.submit(self._deliver, arn, payload, region, account)

    def _deliver(self, arn: str, payload: Any, region: str, account: str) -> None:
        try:
            kind = arn.split(":")[2]
            if kind == "lambda":
                self._invoke(arn, payload, region, account, 0)
            elif kind == "sns":
                self._publish(arn, payload, region, account)
            elif arn.startswith("arn:aws:scheduler:::aws-sdk:"):
                _, service, operation = arn.removeprefix("arn:aws:scheduler:::").split(":")
                self.api(region, service, operation, payload)
            else:
                LOG.warning("the sandbox does not deliver to %s", arn)
        except Exception:
            LOG.exception("delivering to %s failed", arn)

    def _invoke(self, arn: str, payload: Any, region: str, account: str, attempt: int) -> None:
        from moto.awslambda.models import lambda_backends

        pool = self.pool
        with LOCK:
            function = lambda_backends[account][region].get_function(arn)
        _, failed, log = completion_lambda.run(function, payload)
        if failed and attempt < len(RETRY_SECONDS) and pool is self.pool:  # no retry of a function that a reset has killed
            LOG.warning("function %s failed:\n%s", arn, log)
            self.timetable.after(RETRY_SECONDS[attempt], partial(pool.submit, self._again, arn, payload, region, account, attempt + 1))

    def _again(self, arn: str, payload: Any, region: str, account: str, attempt: int) -> None:
        try:
            self._invoke(arn, payload, region, account, attempt)
        except Exception:
            LOG.exception("delivering to %s failed", arn)

    def _publish(self, arn: str, payload: Any, region: str, account: str) -> None:
        from moto.sns.models import sns_backends

        with LOCK:
            sns_backends[account][region].publish(message=payload if isinstance(payload, str) else json.dumps(payload), arn=arn)

    def reset(self) -> None:
        """Drop all waiting deliveries, and start with a new thread pool."""
        self.close()
        self.pool = _pool()
        self.delivered.clear()

    def close(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix="events")


def _input(target: dict[str, Any], event: dict[str, Any]) -> Any:
    """The payload of a target: its constant input, a part of the event, a template filled from the event, or the event.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
    """
    if target.get("Input"):
        return json.loads(target["Input"])
    if target.get("InputPath"):
        return _path(event, target["InputPath"])
    transformer = target.get("InputTransformer")
    if not transformer:
        return event
    text = _fill(transformer["InputTemplate"], {name: _path(event, path) for name, path in transformer.get("InputPathsMap", {}).items()})
    try:
        return json.loads(text)
    except ValueError:
        return text


def _fill(template: str, values: dict[str, Any]) -> str:
    """Fill the variables of an input template: outside of quotes as JSON, inside as they are."""

    def put(match: "re.Match[str]") -> str:
        if match[1] not in values:
            return match[0]
        value = values[match[1]]
        quoted = template[: match.start()].count('"') % 2
        return str(value) if quoted and isinstance(value, str) else json.dumps(value)

    return re.sub(r"<([\w.-]+)>", put, template)


def _path(event: Any, path: str) -> Any:
    for name in path.removeprefix("$").strip(".").split("."):
        event = event.get(name, "") if name else event
    return event
