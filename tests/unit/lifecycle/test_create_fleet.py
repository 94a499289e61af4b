"""The requests that get an instance and end it, and how their answers are read."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from llmlab.contract import Names, Pool
from llmlab.lifecycle import create_fleet, one_time_schedules, pool_order
from llmlab.lifecycle.refusals import Refusal

NAMES = Names("llm-tuning-lab", "123456789012", "us-east-1")
RUN = "20261123-120000-ab12"
POOLS = (
    Pool("g5.xlarge", "us-east-1b", "subnet-b", 1.006, 0.41),
    Pool("g6.xlarge", "us-east-1a", "subnet-a", 0.805, 0.36),
    Pool("g6.xlarge", "us-east-1b", "subnet-b", 0.805, 0.31),
    Pool("g6.xlarge", "us-east-1c", "subnet-c", 0.805, None),
)
CLAIMED = "2026-11-23T12:00:00Z"


def request(*, spot: bool = True, keep: bool = False, pools: tuple[Pool, ...] = POOLS, again: int = 0) -> dict[str, Any]:
    return create_fleet.create_fleet_request(
        NAMES, "llm-tuning-lab-run", pools, run=RUN, attempt=2, claimed=CLAIMED, deadline=1_800_000_000, spot=spot, keep=keep, again=again
    )


def test_order_follows_the_users_types_then_the_price() -> None:
    spot = pool_order.order(POOLS, ["g6.xlarge", "g5.xlarge"], spot=True)
    assert [(pool.instance_type, pool.zone) for pool in spot] == [
        ("g6.xlarge", "us-east-1b"), ("g6.xlarge", "us-east-1a"), ("g5.xlarge", "us-east-1b"),
    ]  # fmt: skip
    assert len(pool_order.order(POOLS, ["g6.xlarge"], spot=False)) == 4


def test_spot_request() -> None:
    built = request()
    assert built["Type"] == "instant"
    assert built["SpotOptions"] == {"AllocationStrategy": "price-capacity-optimized", "InstanceInterruptionBehavior": "terminate"}
    (config,) = built["LaunchTemplateConfigs"]
    assert config["Overrides"][0] == {"InstanceType": "g5.xlarge", "SubnetId": "subnet-b"}
    specifications = built["TagSpecifications"]
    assert [one["ResourceType"] for one in specifications] == ["fleet", "instance", "volume", "network-interface"]
    tags = {tag["Key"]: tag["Value"] for tag in specifications[1]["Tags"]}
    assert tags == {
        "Project": "llm-tuning-lab", "Lab": "llm-tuning-lab", "Name": f"llm-tuning-lab {RUN}",
        "Run": RUN, "Attempt": "2", "Deadline": "1800000000",
    }  # fmt: skip


def test_on_demand_request_keeps_the_order() -> None:
    built = request(spot=False, keep=True)
    assert built["OnDemandOptions"] == {"AllocationStrategy": "prioritized"}
    (config,) = built["LaunchTemplateConfigs"]
    assert [one["Priority"] for one in config["Overrides"]] == [0.0, 1.0, 2.0, 3.0]
    tags = {tag["Key"] for tag in built["TagSpecifications"][1]["Tags"]}
    assert "KeepUntilDeadline" in tags


def test_two_subnets_of_one_zone_become_one() -> None:
    twins = (*POOLS, Pool("g6.2xlarge", "us-east-1b", "subnet-b2", 1.0, 0.4))
    (config,) = request(pools=twins)["LaunchTemplateConfigs"]
    assert {one["SubnetId"] for one in config["Overrides"]} == {"subnet-a", "subnet-b", "subnet-c"}


def test_a_fleet_without_pools_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one pool"):
        request(pools=())


def test_tokens_differ_where_requests_do_and_fit() -> None:
    tokens = {
        create_fleet.client_token(RUN, attempt, claimed, spot=spot, again=again)
        for attempt in (1, 10, 1000)
        for claimed in (CLAIMED, "2026-11-23T12:00:01Z")
        for spot in (True, False)
        for again in (0, 1, 99)
    }
    assert len(tokens) == 36
    assert all(len(token) <= 64 and token.isascii() for token in tokens)
    assert request()["ClientToken"] == request()["ClientToken"]


def test_the_answer_with_an_instance() -> None:
    answer = create_fleet.read_create_fleet(
        {
            "Instances": [
                {"InstanceIds": ["i-1"], "InstanceType": "g6.xlarge", "LaunchTemplateAndOverrides": {"Overrides": {"SubnetId": "subnet-b"}}}
            ],
            "Errors": [],
        },
        POOLS,
    )
    assert answer.launched == create_fleet.Launched("i-1", "g6.xlarge", "us-east-1b")


@pytest.mark.parametrize(
    ("codes", "refusal"),
    [
        (["InsufficientInstanceCapacity", "Unsupported"], Refusal.NO_CAPACITY),
        (["InsufficientInstanceCapacity", "MaxSpotInstanceCountExceeded"], Refusal.QUOTA),
        (["VcpuLimitExceeded", "UnauthorizedOperation"], Refusal.DENIED),
        (["InvalidParameterValue"], Refusal.OTHER),
        ([], Refusal.NO_CAPACITY),
    ],
)
def test_the_answer_without_one_says_why(codes: list[str], refusal: Refusal) -> None:
    errors = [
        {
            "LaunchTemplateAndOverrides": {"Overrides": {"InstanceType": "g6.xlarge", "SubnetId": "subnet-a"}},
            "ErrorCode": code,
            "ErrorMessage": "We do not have it.",
        }
        for code in codes
    ]
    answer = create_fleet.read_create_fleet({"Instances": [], "Errors": errors}, POOLS)
    assert answer.launched is None
    assert answer.refusal is refusal
    assert [error.zone for error in answer.errors] == ["us-east-1a"] * len(codes)
    assert answer.words


def test_the_schedule_first_calls_the_watchdog_then_ec2_itself() -> None:
    deadline = int(datetime(2026, 11, 23, 18, 30, 5, tzinfo=UTC).timestamp())
    created = one_time_schedules.create_schedule_request(NAMES, run=RUN, attempt=1, deadline=deadline, role="arn:role")
    aimed = one_time_schedules.aim_schedule_request(NAMES, run=RUN, attempt=1, deadline=deadline, role="arn:role", instance="i-1")
    assert created["ScheduleExpression"] == "at(2026-11-23T18:30:05)"
    assert created["ActionAfterCompletion"] == "DELETE"
    assert created["Target"]["Arn"] == "arn:aws:lambda:us-east-1:123456789012:function:llm-tuning-lab-watchdog"
    assert json.loads(created["Target"]["Input"]) == {"deadline": {"run": RUN, "attempt": 1}}
    assert aimed["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances"
    assert json.loads(aimed["Target"]["Input"]) == {"InstanceIds": ["i-1"]}
    assert {key: value for key, value in aimed.items() if key != "Target"} == {
        key: value for key, value in created.items() if key != "Target"
    }


def test_the_price_of_an_instance_is_its_pools() -> None:
    assert pool_order.price_of(POOLS, "g6.xlarge", "us-east-1b", spot=True) == 0.31
    assert pool_order.price_of(POOLS, "g6.xlarge", "us-east-1z", spot=True) == 0.36
    assert pool_order.price_of(POOLS, "p5.48xlarge", "us-east-1a", spot=True) == 0.0


def test_pools_are_ordered_by_dollars_for_the_same_work() -> None:
    slow = Pool("g4dn.xlarge", "us-east-1a", "subnet-a", 0.5, 0.2, speed=1)
    fast = Pool("g6e.xlarge", "us-east-1a", "subnet-a", 1.9, 0.6, speed=4)
    assert pool_order.order([slow, fast], (), spot=True) == (fast, slow)
    assert pool_order.order([slow, fast], ("g4dn.xlarge", "g6e.xlarge"), spot=True) == (slow, fast)


def test_a_tier_holds_what_is_as_good_as_its_best() -> None:
    pools = [
        Pool("g6.xlarge", "us-east-1a", "a", 0.8, 0.30),
        Pool("g6.xlarge", "us-east-1b", "b", 0.8, 0.37),
        Pool("g5.xlarge", "us-east-1a", "a", 1.0, 0.36),
        Pool("p5.48xlarge", "us-east-1a", "a", 55.0, 20.0, speed=16),
        Pool("g7.2xlarge", "us-east-1a", "a", 1.0),
    ]
    assert [[(one.instance_type, one.zone[-1]) for one in tier] for tier in pool_order.tiers(pools, (), spot=True)] == [
        [("g6.xlarge", "a"), ("g5.xlarge", "a"), ("g6.xlarge", "b")],
        [("p5.48xlarge", "a")],
    ]
    named = pool_order.tiers(pools, ("g5.xlarge", "g6.xlarge"), spot=True)
    assert [one.instance_type for tier in named for one in tier] == ["g5.xlarge", "g6.xlarge", "g6.xlarge", "p5.48xlarge"]
    assert [len(tier) for tier in named] == [1, 2, 1]


def test_the_prices_of_now_replace_those_of_spot_pools_alone() -> None:
    pools = [Pool("g6.xlarge", "us-east-1a", "a", 0.8, 0.3), Pool("g6.xlarge", "us-east-1b", "b", 0.8)]
    new = pool_order.reprice(pools, {("g6.xlarge", "us-east-1a"): 0.4, ("g6.xlarge", "us-east-1b"): 0.1})
    assert [pool.spot_price for pool in new] == [0.4, None]


def test_the_alarm_clock_of_a_run() -> None:
    request = one_time_schedules.wake_request(NAMES, run=RUN, moment=1_795_458_605, role="arn:role")
    assert request["Name"] == one_time_schedules.wake_name(RUN)
    assert json.loads(request["Target"]["Input"]) == {"wake": {"run": RUN}}
    assert request["Target"]["Arn"] == "arn:aws:lambda:us-east-1:123456789012:function:llm-tuning-lab-watchdog"
