"""Requests and documents of an attempt's start, the same from `launch`, `resume` and the watchdog.

The order is theirs too: the claim, the schedule of its deadline, CreateFleet, and then the instance in the schedule and in the claim.
So there is never an instance without a deadline, and never a second starter.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from llmlab import contract
from llmlab.contract import Attempt, Names, Pool, Spec
from llmlab.lifecycle import create_fleet, one_time_schedules, pool_order
from llmlab.lifecycle.create_fleet import Launched


def fleet_request(names: Names, spec: Spec, attempt: Attempt, pools: Sequence[Pool], *, again: int) -> dict[str, Any]:
    """The CreateFleet request for the attempt's instance. `again` numbers the attempt's requests: EC2 answers each number once."""
    return create_fleet.create_fleet_request(
        names,
        spec.launch_template,
        pools,
        run=spec.run,
        attempt=attempt.number,
        claimed=attempt.claimed,
        deadline=attempt.deadline,
        spot=attempt.spot,
        keep=not spec.auto_shutdown,
        image=spec.ami,
        again=again,
    )


def deadline_schedule(names: Names, attempt: Attempt, role: str) -> dict[str, Any]:
    """The request for the schedule of the attempt's deadline.

    It calls the watchdog while the instance is not known, and EC2 itself after that. `role` is the scheduler role's ARN.
    """
    facts: dict[str, Any] = {"run": attempt.run, "attempt": attempt.number, "deadline": attempt.deadline, "role": role}
    if not attempt.instance:
        return one_time_schedules.create_schedule_request(names, **facts)
    return one_time_schedules.aim_schedule_request(names, **facts, instance=attempt.instance)


def with_instance(attempt: Attempt, launched: Launched, pools: Sequence[Pool], now: datetime) -> Attempt:
    """The attempt with the instance that CreateFleet gave from one of the pools."""
    return replace(
        attempt,
        instance=launched.instance,
        instance_type=launched.instance_type,
        zone=launched.zone,
        price=pool_order.price_of(pools, launched.instance_type, launched.zone, spot=attempt.spot),
        gpus=create_fleet.gpus_of(pools, launched.instance_type),
        launched=contract.build_timestamp(now),
    )
