"""Which pools the next attempt asks first, by what has failed and how long ago."""

from datetime import UTC, datetime, timedelta

import pytest

from llmlab import contract
from llmlab.contract import Attempt, AttemptEnd, EndReason, Manifest, Pool, Spec
from llmlab.watchdog import capacity

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
RUN = "20261123-120000-ab12"
CHEAP, DEAR = Pool("g6.xlarge", "us-east-1a", "subnet-a", 0.8, 0.1), Pool("g6.xlarge", "us-east-1b", "subnet-b", 0.8, 0.4)
SPEC = Spec(
    run=RUN, lab="lab", region="us-east-1", account="123456789012", recipe={}, data=Manifest("d", (), ""), image="i", ami="",
    launch_template="t", pools=(CHEAP, DEAR), spot=True, max_hours=6, created=contract.build_timestamp(NOW),
)  # fmt: skip


def zones_asked(failed_before: timedelta) -> list[str]:
    """The zones in the order they are asked for an instance, when the cheap pool failed so long ago."""
    begin = contract.build_timestamp(NOW - failed_before - timedelta(minutes=5))
    attempt = Attempt(
        RUN, 1, begin, int(NOW.timestamp()) + 3600, spot=True, by="launch", max_hours=6, instance="i-1", instance_type="g6.xlarge",
        zone="us-east-1a", price=0.1, launched=begin,
    )  # fmt: skip
    end = AttemptEnd(RUN, 1, EndReason.SPOT_INTERRUPTED, contract.build_timestamp(NOW - failed_before))
    prices = {(pool.instance_type, pool.zone): pool.spot_price or 0.0 for pool in SPEC.pools}
    asks = capacity.asks(SPEC, [attempt], [end], prices, None, NOW)
    return [pool.zone for ask in asks for pool in ask.pools]


@pytest.mark.parametrize("minutes", [0, 1, 15, 29])
def test_a_pool_that_failed_within_half_an_hour_is_asked_last_although_it_is_the_cheapest(minutes: int) -> None:
    assert zones_asked(timedelta(minutes=minutes)) == ["us-east-1b", "us-east-1a"]


def test_after_half_an_hour_the_cheapest_is_asked_with_the_others_again() -> None:
    assert zones_asked(timedelta(minutes=30))[0] == "us-east-1a"
