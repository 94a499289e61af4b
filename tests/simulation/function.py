"""The watchdog's function as Lambda runs it: at any time, several invocations at once, and two retries of a failed one."""

from collections.abc import Callable, Mapping
from typing import Any

from llmlab.contract import Names
from llmlab.lifecycle.run_documents import RunDocuments
from llmlab.watchdog import events
from llmlab.watchdog.reconcile import Watchdog
from tests.simulation.callers import Caller
from tests.simulation.failure import Died
from tests.simulation.history import History
from tests.simulation.timeline import Timeline

LIMIT_SECONDS = 300.0
RETRY_SECONDS = (60.0, 120.0)
"""Waits before the retries of an asynchronous invocation. https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html"""
MAX_HOURS = 24.0
"""The lab's maximum lifetime of an instance without a deadline tag."""

Make = Callable[..., Watchdog]
"""The class `Watchdog`, or a test's replacement."""


class SimulatedFunction:
    """The simulated Lambda function. `caller` gives each invocation, by its number, its own connection to AWS."""

    def __init__(self, names: Names, make: Make, timeline: Timeline, history: History, caller: Callable[[int], Caller]) -> None:
        self.names = names
        self.make = make
        self.timeline = timeline
        self.history = history
        self.caller = caller
        self.invocations = 0
        self._running = 0

    def invoke(self, payload: Mapping[str, Any], tries: int = 0) -> None:
        """Invoke the function with an event; after a failure a retry is planned."""
        self.invocations += 1
        name = f"watchdog {self.invocations}"
        caller = self.caller(self.invocations)
        self.history.seen["invocations side by side"] += bool(self._running)
        self._running += 1
        try:
            self._watchdog(caller, name).wake(events.parse(payload))
        except Died:
            self.history.seen["functions that died"] += 1
            self._failed(payload, tries, name, "it died")
        except Exception as error:  # noqa: BLE001 - Lambda does not ask what it was
            self._failed(payload, tries, name, repr(error))
        finally:
            self._running -= 1

    def _watchdog(self, caller: Caller, name: str) -> Watchdog:
        names = self.names
        return self.make(
            names=names,
            bucket=RunDocuments(caller.client("s3"), names.outputs_bucket, self.timeline),
            ec2=caller.client("ec2"),
            fleet_client=caller.client("ec2"),
            scheduler=caller.client("scheduler"),
            sns=caller.client("sns"),
            cloudwatch=caller.client("cloudwatch"),
            topic=names.arn("sns", names.topic),
            scheduler_role=names.role_arn(names.scheduler_role),
            max_hours=MAX_HOURS,
            clock=self.timeline,
            log=lambda decision, **facts: self._log(name, decision, facts),
        )

    def _log(self, name: str, decision: str, facts: Mapping[str, object]) -> None:
        self.history.seen[f"decision: {decision}"] += 1
        words = " ".join(f"{key}={value}" for key, value in facts.items() if key != "run")
        self.history.note(self.timeline.moment, name, f"{decision} {words}")

    def _failed(self, payload: Mapping[str, Any], tries: int, name: str, why: str) -> None:
        self.history.seen["functions that failed"] += 1
        self.history.note(self.timeline.moment, name, f"fails: {why}")
        if tries < len(RETRY_SECONDS):
            self.timeline.after(RETRY_SECONDS[tries], lambda: self.invoke(payload, tries + 1))
