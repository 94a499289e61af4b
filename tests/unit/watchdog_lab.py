"""A lab with one run on an account in this process, and the watchdog on a clock that stands still."""

import dataclasses
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from llmlab import contract, fleet, money, timers
from llmlab.aws.session import Aws
from llmlab.clock import ManualClock
from llmlab.contract import Attempt, AttemptEnd, EndReason, Marker, Notice, Pool, RunKeys, Spec
from llmlab.watchdog import events
from llmlab.watchdog.act import Watchdog
from llmlab.watchdog.records import Bucket

RUN = "20261123-120000-ab12"
KEYS = RunKeys(RUN)
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


@dataclasses.dataclass
class Lab:
    """See `launch`, `kill` and `wake`."""

    aws: Aws
    clock: ManualClock
    pools: tuple[Pool, ...]
    logged: list[tuple[str, dict[str, Any]]] = dataclasses.field(default_factory=list)
    prices: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    settled: set[str] = dataclasses.field(default_factory=set)

    def watchdog(self, life: Life | None = None) -> Watchdog:
        aws, names = self.aws, self.aws.names

        def client(made: Any) -> Any:
            return Mortal(made, life or Life(), self.prices)

        return Watchdog(
            names=names,
            bucket=Bucket(client(aws.s3), names.outputs_bucket),
            ec2=client(aws.ec2),
            fleet_client=client(aws.client("ec2", attempts=1)),
            scheduler=client(aws.client("scheduler")),
            sns=client(aws.client("sns")),
            cloudwatch=client(aws.client("cloudwatch")),
            topic=names.arn("sns", names.topic),
            scheduler_role=f"arn:aws:iam::{names.account}:role/{names.scheduler_role}",
            max_hours=6,
            clock=self.clock,
            log=lambda decision, **facts: self.logged.append((decision, facts)),
        )

    def wake(self, event: dict[str, Any], life: Life | None = None) -> list[str]:
        """The decisions that an event led to."""
        before = len(self.logged)
        try:
            self.watchdog(life).wake(events.parse(event))
        finally:
            self.settle()
        return [decision for decision, _ in self.logged[before:]]

    def write(self, key: str, document: Any) -> None:
        self.aws.s3.put_object(Bucket=self.aws.names.outputs_bucket, Key=key, Body=contract.dump(document).encode())

    def read(self, kind: type[Any], key: str) -> Any:
        return Bucket(self.aws.s3, self.aws.names.outputs_bucket).load(kind, key)

    def change(self, **changes: Any) -> None:
        """Another spec."""
        self.write(KEYS.spec, dataclasses.replace(self.read(Spec, KEYS.spec), **changes))

    def launch(self, number: int = 1, *, zone: str = "us-east-1a", noted: bool = True, **changes: Any) -> Attempt:
        """An attempt as `launch` leaves it: claimed and running; with `noted=False`, as one that died before it noted its instance."""
        now = self.clock.now()
        claim = Attempt(RUN, number, contract.build_timestamp(now), money.deadline_of(now, 6), spot=True, by="launch", max_hours=6)
        claim = dataclasses.replace(claim, **changes)
        pools = [pool for pool in self.pools if pool.zone == zone]
        request = fleet.create_fleet_request(
            self.aws.names, self.aws.names.launch_template, pools, run=RUN, attempt=number, deadline=claim.deadline, spot=claim.spot
        )
        got = fleet.read_create_fleet(self.aws.ec2.create_fleet(**request), self.pools).launched
        assert got is not None
        self.settle()
        full = dataclasses.replace(
            claim, instance=got.instance, instance_type=got.instance_type, zone=got.zone, price=claim.price or 0.3,
            launched=contract.build_timestamp(now),
        )  # fmt: skip
        self.write(KEYS.attempt(number), full if noted else claim)
        return full

    def settle(self) -> None:
        """What was started since the last time was so by the test's clock; moto's is the real one."""
        for instance in {one["InstanceId"] for one in self.live()} - self.settled:
            self._moto(instance).launch_time = self.clock.now().replace(tzinfo=None)
            self.settled.add(instance)

    def _moto(self, instance: str) -> Any:
        from moto.ec2.models import ec2_backends

        found: Any = ec2_backends[self.aws.account][self.aws.region].get_instance(instance)
        return found

    def kill(self, instance: str | Attempt, cause: str = INTERRUPTED) -> dict[str, Any]:
        """The instance is gone, and EC2 says why; the event of it."""
        name = instance.instance if isinstance(instance, Attempt) else instance
        if name in {one["InstanceId"] for one in self.live()}:
            self.aws.ec2.terminate_instances(InstanceIds=[name])
        self._moto(name).state_reason.code = cause
        self._moto(name)._reason = ""  # moto's clock is the real one, so its time of the end says nothing here
        return gone(name)

    def price(self, dollars: float, zone: str = "us-east-1a", *, at: datetime | None = None) -> None:
        """The spot price of a zone from `at` (now) on."""
        point = {"InstanceType": "g6.xlarge", "AvailabilityZone": zone, "SpotPrice": str(dollars), "Timestamp": at or self.clock.now()}
        self.prices.append(point)

    def live(self) -> list[Any]:
        pages = self.aws.ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}])
        return [instance for reservation in pages["Reservations"] for instance in reservation["Instances"]]

    def schedules(self) -> dict[str, datetime]:
        client = self.aws.client("scheduler")
        names = [one["Name"] for one in client.list_schedules(GroupName=self.aws.names.schedule_group)["Schedules"]]
        found = {name: client.get_schedule(GroupName=self.aws.names.schedule_group, Name=name) for name in names}
        return {name: timers.schedule_moment(one["ScheduleExpression"]) for name, one in found.items()}

    @property
    def alarm(self) -> datetime | None:
        return self.schedules().get(timers.wake_name(RUN))

    def sleep_until_alarm(self) -> list[str]:
        """Let the alarm clock go off; what came of it."""
        moment = self.alarm
        assert moment is not None
        assert moment > self.clock.now()
        self.clock.time = moment
        self.aws.client("scheduler").delete_schedule(GroupName=self.aws.names.schedule_group, Name=timers.wake_name(RUN))
        return self.wake(timers.wake_event(RUN))

    def attempts(self) -> list[Attempt]:
        records = Bucket(self.aws.s3, self.aws.names.outputs_bucket).records(RUN)
        assert records is not None
        return list(records.attempts)

    def end(self, number: int) -> AttemptEnd:
        found = self.read(AttemptEnd, KEYS.attempt_end(number))
        assert isinstance(found, AttemptEnd)
        return found

    def marker(self) -> Marker | None:
        found: Marker | None = self.read(Marker, KEYS.success) or self.read(Marker, KEYS.failure)
        return found

    def sent(self) -> list[Any]:
        """The messages of the topic, as moto keeps them: (subject, message)."""
        from moto.sns.models import sns_backends

        topic = sns_backends[self.aws.account][self.aws.region].topics[self.aws.names.arn("sns", self.aws.names.topic)]
        return [(one[2], one[1]) for one in topic.sent_notifications]

    def told(self) -> set[tuple[int, Notice]]:
        records = Bucket(self.aws.s3, self.aws.names.outputs_bucket).records(RUN)
        assert records is not None
        return set(records.told)


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
