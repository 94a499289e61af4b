"""How long a run is waited for: as long as it may last, and a day."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llmlab import contract
from llmlab.clock import ManualClock
from llmlab.contract import Attempt, Manifest, Names, Pool, RunKeys, Spec
from llmlab.errors import LabError
from llmlab.ops import follow, logs
from tests.simulation.callers import SimulatedAws
from tests.simulation.storage import Storage

NAMES = Names("lab", "123456789012", "us-east-1")
START = datetime(2026, 11, 23, 12, tzinfo=UTC)
RUN = "20261123-120000-ab12"
HOURS = 10.0


class Quick(ManualClock):
    """Every pause takes half an hour, so that days pass in a few looks."""

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        super().sleep(1800)


class Silent:
    """A lab with one run whose instance is at it for ever, and whose logs stay empty."""

    def __init__(self) -> None:
        self.storage = Storage()
        at, keys = contract.build_timestamp(START), RunKeys(RUN)
        deadline = int((START + timedelta(hours=HOURS)).timestamp())
        spec = Spec(
            run=RUN, lab=NAMES.lab, region=NAMES.region, account=NAMES.account, recipe={}, data=Manifest("d", (), ""), image="i", ami="",
            launch_template="t", pools=(Pool("g6.xlarge", "us-east-1a", "s", 0.8, 0.3),), spot=True, max_hours=HOURS, created=at,
        )  # fmt: skip
        attempt = Attempt(
            RUN, 1, at, deadline, spot=True, by="launch", max_hours=HOURS, instance="i-1", instance_type="g6.xlarge", zone="us-east-1a",
            price=0.3, launched=at,
        )  # fmt: skip
        tags = {**NAMES.tags, "Run": RUN, "Attempt": "1", "Deadline": str(deadline)}
        self.instance = {
            "InstanceId": "i-1", "InstanceType": "g6.xlarge", "State": {"Name": "running"}, "LaunchTime": START,
            "Placement": {"AvailabilityZone": "us-east-1a"}, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        }  # fmt: skip
        for key, document in ((keys.spec, spec), (keys.attempt(1), attempt)):
            self.storage.put_object(Bucket=NAMES.outputs_bucket, Key=key, Body=contract.dump(document))

    def call(self, service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        if service == "s3":
            return getattr(self.storage, method)(**parameters)
        return {"describe_instances": {"Reservations": [{"Instances": [self.instance]}]}, "filter_log_events": {"events": []}}[method]


def hours_until_given_up(wait: Callable[[SimulatedAws, Quick], object]) -> float:
    """How long it is waited until somebody says that it has been too long."""
    clock = Quick(START)
    with pytest.raises(LabError) as error:
        wait(SimulatedAws(NAMES, Silent()), clock)  # type: ignore[arg-type]
    assert error.value.hint == f"llmlab status {RUN}"
    return (clock.now() - START) / timedelta(hours=1)


def test_the_end_of_a_run_is_waited_for_as_long_as_it_may_last_and_a_day() -> None:
    waited = hours_until_given_up(lambda aws, clock: follow.follow(aws, RUN, clock, lambda _run: None))
    assert HOURS + 24 <= waited <= HOURS + 25


def test_silent_logs_are_followed_for_the_longest_run_and_a_day() -> None:
    waited = hours_until_given_up(lambda aws, clock: logs.follow(aws, RUN, logs.LogQuery(), clock, lambda _line: None))
    assert 8 * 24 <= waited <= 8 * 24 + 1
