"""A lab with one run on the simulator's account in memory, and the watchdog on a clock that stands still.

`tests/simulation/test_account.py` holds that account to the sandbox's own AWS, call by call.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from llmlab import contract
from llmlab.clock import ManualClock
from llmlab.contract import PROJECT, Attempt, AttemptEnd, EndReason, Marker, Names, Notice, Pool, RunKeys, Spec
from llmlab.lifecycle import billing, create_fleet, one_time_schedules
from llmlab.lifecycle.run_documents import RunDocuments
from llmlab.watchdog import events
from llmlab.watchdog.reconcile import Watchdog
from llmlab.watchdog.webhook_delivery import Webhook
from tests.simulation.callers import Client
from tests.simulation.cloud import MemoryCloud
from tests.simulation.compute import Compute, SimulatedInstance
from tests.simulation.history import clock_words
from tests.simulation.traces import Trace

RUN = "20261123-120000-ab12"
KEYS = RunKeys(RUN)
ACCOUNT, REGION = "123456789012", "us-east-1"
ANY, SPOT, ON_DEMAND = "*", "spot", "on-demand"
ALWAYS = ((float("-inf"), float("inf")),)
INTERRUPTED = "Server.SpotInstanceTermination"
BY_API = "Client.UserInitiatedShutdown"
WRITES = {
    "put_object", "create_schedule", "update_schedule", "delete_schedule", "create_fleet", "terminate_instances", "publish",
    "put_metric_data",
}  # fmt: skip


class Died(BaseException):
    """The function was killed."""


@dataclasses.dataclass
class Life:
    """How many writing calls a function may make: it dies right after the last of them, and its answer is lost."""

    calls: int = 10**6
    made: list[str] = dataclasses.field(default_factory=list)


class Mortal:
    """A client whose function may die, and whose spot prices are the test's."""

    def __init__(self, client: Any, life: Life, prices: list[dict[str, Any]]) -> None:
        self._client, self._life, self._prices = client, life, prices

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name not in WRITES:
            return method

        def call(**parameters: Any) -> Any:
            answer = method(**parameters)
            self._life.made.append(name)
            if len(self._life.made) >= self._life.calls:
                raise Died(name)
            return answer

        return call

    def get_paginator(self, name: str) -> Any:
        return Prices(self._prices) if name == "describe_spot_price_history" else self._client.get_paginator(name)


@dataclasses.dataclass
class Prices:
    """DescribeSpotPriceHistory: what was in force at the start, and what followed."""

    points: list[dict[str, Any]]

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        wanted = [
            point
            for point in self.points
            if point["InstanceType"] in asked["InstanceTypes"]
            and asked.get("AvailabilityZone", point["AvailabilityZone"]) == point["AvailabilityZone"]
        ]
        after = [point for point in wanted if point["Timestamp"] > asked["StartTime"]]
        before: dict[tuple[str, str], dict[str, Any]] = {}
        for point in sorted(wanted, key=lambda one: one["Timestamp"]):
            if point["Timestamp"] <= asked["StartTime"]:
                before[point["InstanceType"], point["AvailabilityZone"]] = point
        yield {"SpotPriceHistory": [*before.values(), *after]}


@dataclasses.dataclass(frozen=True)
class Moment:
    """The clock of the test, as the account asks for it."""

    clock: ManualClock

    @property
    def moment(self) -> float:
        return self.clock.now().timestamp()


class Supply:
    """What EC2 has to give: everything, but what a test has it refuse."""

    def __init__(self) -> None:
        self.refused: set[tuple[str, str, str]] = set()

    def trace(self, instance_type: str, zone: str) -> Trace:
        def closed(market: str) -> tuple[tuple[float, float], ...]:
            pools = ((instance_type, zone, market),)
            return ALWAYS if any(all(ours in {ANY, its} for ours, its in zip(one, pools[0], strict=True)) for one in self.refused) else ()

        return Trace(instance_type, zone, 0.8, ((0.0, 0.3),), closed(SPOT), closed(ON_DEMAND))


class Account:
    """The account as its programs see it: clients of boto3's shape, each call of them noted."""

    def __init__(self, clock: ManualClock, supply: Supply, pools: tuple[Pool, ...]) -> None:
        self.names = Names(PROJECT, ACCOUNT, REGION)
        self.account, self.region = ACCOUNT, REGION
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.cloud = MemoryCloud(Compute(Moment(clock), supply, pools, self.names))  # type: ignore[arg-type]

    def client(self, service: str, **_: Any) -> Any:
        return Client(service, self._call)

    def _call(self, service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        self.calls.append((method, parameters))
        return self.cloud.call(service, method, parameters)

    @property
    def s3(self) -> Any:
        return self.client("s3")

    @property
    def ec2(self) -> Any:
        return self.client("ec2")


@dataclasses.dataclass
class Lab:
    """See `launch`, `kill` and `wake`; `refuse` and `allow` say what EC2 has to give."""

    clock: ManualClock
    pools: tuple[Pool, ...]
    logged: list[tuple[str, dict[str, Any]]] = dataclasses.field(default_factory=list)
    prices: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    supply: Supply = dataclasses.field(default_factory=Supply)
    webhook: Webhook | None = None

    def __post_init__(self) -> None:
        self.aws = Account(self.clock, self.supply, self.pools)
        self.aws.cloud.listen(self._started, self._ended)

    def _started(self, instance: SimulatedInstance) -> None:
        instance.state = "running"

    def _ended(self, instance: str) -> None:
        if self.aws.cloud.compute.instances[instance].state == "running":
            self.aws.cloud.turn(instance, "terminated", BY_API, f"User initiated ({clock_words(self.clock.now().timestamp())})")

    def watchdog(self, life: Life | None = None) -> Watchdog:
        aws, names = self.aws, self.aws.names

        def client(made: Any) -> Any:
            return Mortal(made, life or Life(), self.prices)

        return Watchdog(
            names=names,
            bucket=RunDocuments(client(aws.s3), names.outputs_bucket, self.clock),
            ec2=client(aws.ec2),
            fleet_client=client(aws.ec2),
            scheduler=client(aws.client("scheduler")),
            sns=client(aws.client("sns")),
            cloudwatch=client(aws.client("cloudwatch")),
            topic=names.arn("sns", names.topic),
            scheduler_role=f"arn:aws:iam::{names.account}:role/{names.scheduler_role}",
            max_hours=6,
            clock=self.clock,
            log=lambda decision, **facts: self.logged.append((decision, facts)),
            webhook=self.webhook,
        )

    def wake(self, event: dict[str, Any], life: Life | None = None) -> list[str]:
        """The decisions that an event led to."""
        before = len(self.logged)
        self.watchdog(life).wake(events.parse(event))
        return [decision for decision, _ in self.logged[before:]]

    def write(self, key: str, document: Any) -> None:
        self.aws.s3.put_object(Bucket=self.aws.names.outputs_bucket, Key=key, Body=contract.dump(document).encode())

    def put(self, key: str, body: bytes) -> None:
        """An object that need be no document."""
        self.aws.s3.put_object(Bucket=self.aws.names.outputs_bucket, Key=key, Body=body)

    def keys(self, prefix: str = "") -> list[str]:
        return self.aws.cloud.keys(self.aws.names.outputs_bucket, prefix)

    def tag(self, attempt: Attempt, **tags: str) -> None:
        """Somebody changes tags of an attempt's instance."""
        self.aws.cloud.compute.instances[attempt.instance].tags.update(tags)

    def read(self, kind: type[Any], key: str) -> Any:
        return RunDocuments(self.aws.s3, self.aws.names.outputs_bucket, self.clock).load(kind, key)

    def change(self, **changes: Any) -> None:
        """Another spec."""
        self.write(KEYS.spec, dataclasses.replace(self.read(Spec, KEYS.spec), **changes))

    def launch(self, number: int = 1, *, zone: str = "us-east-1a", noted: bool = True, run: str = RUN, **changes: Any) -> Attempt:
        """An attempt as `launch` leaves it: claimed and running; with `noted=False`, as one that died before it noted its instance.

        `run` is another one's id, which then is written as the first one is.
        """
        now = self.clock.now()
        if run != RUN:
            self.write(RunKeys(run).spec, dataclasses.replace(self.read(Spec, KEYS.spec), run=run))
        claim = Attempt(run, number, contract.build_timestamp(now), billing.deadline_of(now, 6), spot=True, by="launch", max_hours=6)
        claim = dataclasses.replace(claim, **changes)
        pools = [pool for pool in self.pools if pool.zone == zone]
        request = create_fleet.create_fleet_request(
            self.aws.names,
            self.aws.names.launch_template,
            pools,
            run=run,
            attempt=number,
            claimed=claim.claimed,
            deadline=claim.deadline,
            spot=claim.spot,
        )
        got = create_fleet.read_create_fleet(self.aws.ec2.create_fleet(**request), self.pools).launched
        assert got is not None
        full = dataclasses.replace(
            claim, instance=got.instance, instance_type=got.instance_type, zone=got.zone, price=claim.price or 0.3,
            launched=contract.build_timestamp(now),
        )  # fmt: skip
        self.write(RunKeys(run).attempt(number), full if noted else claim)
        return full

    def stranger(self, tags: Mapping[str, str] | None = None) -> str:
        """An instance that no program of ours has started."""
        compute = self.aws.cloud.compute
        identity = f"i-{len(compute.instances) + 1:017x}"
        now = self.clock.now().timestamp()
        compute.instances[identity] = SimulatedInstance(
            identity, "g6.xlarge", "us-east-1a", "subnet-a", False, now, dict(tags or {}), "running"
        )
        return identity

    def refuse(self, instance_type: str = ANY, zone: str = ANY, market: str = ANY) -> None:
        """Every pool that matches has no capacity from now on."""
        self.supply.refused.add((instance_type, zone, market))

    def allow(self) -> None:
        """Every pool has capacity again."""
        self.supply.refused.clear()

    def kill(self, instance: str | Attempt, cause: str = INTERRUPTED) -> dict[str, Any]:
        """The instance is gone, and EC2 says why; the event of it."""
        name = instance.instance if isinstance(instance, Attempt) else instance
        described = self.aws.cloud.compute.instances[name]
        if described.state == "running":
            self.aws.cloud.turn(name, "terminated")
        described.cause, described.words = cause, ""
        return gone(name)

    def price(self, dollars: float, zone: str = "us-east-1a", *, at: datetime | None = None) -> None:
        """The spot price of a zone from `at` (now) on."""
        point = {"InstanceType": "g6.xlarge", "AvailabilityZone": zone, "SpotPrice": str(dollars), "Timestamp": at or self.clock.now()}
        self.prices.append(point)

    def live(self) -> list[Any]:
        pages = self.aws.ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}])
        return [instance for reservation in pages["Reservations"] for instance in reservation["Instances"]]

    def schedules(self) -> dict[str, datetime]:
        found = self.aws.cloud.control.one_time
        return {name: one_time_schedules.schedule_moment(one["ScheduleExpression"]) for name, one in found.items()}

    @property
    def alarm(self) -> datetime | None:
        return self.schedules().get(one_time_schedules.wake_name(RUN))

    def sleep_until_alarm(self) -> list[str]:
        """Let the alarm clock go off; what came of it."""
        moment = self.alarm
        assert moment is not None
        assert moment > self.clock.now()
        self.clock.time = moment
        self.aws.cloud.drop(one_time_schedules.wake_name(RUN))
        return self.wake(one_time_schedules.wake_event(RUN))

    def attempts(self) -> list[Attempt]:
        records = RunDocuments(self.aws.s3, self.aws.names.outputs_bucket, self.clock).records(RUN)
        assert records is not None
        return list(records.attempts)

    def end(self, number: int) -> AttemptEnd:
        found = self.read(AttemptEnd, KEYS.attempt_end(number))
        assert isinstance(found, AttemptEnd)
        return found

    def marker(self) -> Marker | None:
        found: Marker | None = self.read(Marker, KEYS.success) or self.read(Marker, KEYS.failure)
        return found

    def sent(self) -> list[tuple[str, str]]:
        """The messages of the topic: (subject, message)."""
        return self.aws.cloud.messages()

    def measured(self) -> dict[str, list[float]]:
        """What was put into each metric of the lab, in order."""
        found: dict[str, list[float]] = {}
        for method, parameters in self.aws.calls:
            if method == "put_metric_data" and parameters["Namespace"] == self.aws.names.metrics:
                for point in parameters["MetricData"]:
                    found.setdefault(point["MetricName"], []).append(point["Value"])
        return found

    def told(self) -> set[tuple[int, Notice]]:
        records = RunDocuments(self.aws.s3, self.aws.names.outputs_bucket, self.clock).records(RUN)
        assert records is not None
        return set(records.notified)


def gone(instance: str | Attempt, state: str = "terminated") -> dict[str, Any]:
    name = instance.instance if isinstance(instance, Attempt) else instance
    return {"detail-type": events.STATE_CHANGE, "detail": {"instance-id": name, "state": state}}


def warned(attempt: Attempt) -> dict[str, Any]:
    return {"detail-type": events.WARNING, "detail": {"instance-id": attempt.instance}}


def dies(lab: Lab, event: dict[str, Any], count: int) -> bool:
    """A function that is handed an event and dies right after `count` writing calls; whether it came to that."""
    try:
        lab.wake(event, Life(count))
    except Died:
        return True
    return False


def ended(lab: Lab, number: int, reason: EndReason, **changes: Any) -> AttemptEnd:
    """An attempt's end, written as the agent does."""
    end = dataclasses.replace(AttemptEnd(RUN, number, reason, contract.build_timestamp(lab.clock.now())), **changes)
    lab.write(KEYS.attempt_end(number), end)
    return end
