"""Starting another attempt: its claim → the alarm clock → its deadline → CreateFleet, pool after pool → its instance noted.

The call may die after any of these, and be made again: whoever writes the claim first has the right to start, and nobody else; a claim
that stays without an instance is looked at by the alarm clock; an instance that no claim names is found by its tag (`sight`); and what
EC2 did not answer to leaves the claim open until it can be seen what became of it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from llmlab import contract, fleet, pricing, timers
from llmlab.contract import Attempt, AttemptEnd, EndReason, Pool, RunKeys, Spec
from llmlab.fleet import Answer, PoolError
from llmlab.lifecycle import refusals
from llmlab.watchdog import alarm, schedules
from llmlab.watchdog.capacity import Ask
from llmlab.watchdog.decide import LAUNCH_SECONDS, Resume
from llmlab.watchdog.sight import RunSnapshot
from llmlab.watchdog.tools import Tools

TIMES = 2
"""How often EC2 is asked the same when it does not answer. The token of the request makes that one instance at most."""
SERVER_ERROR = 500


def start(tools: Tools, snapshot: RunSnapshot, decision: Resume) -> None:
    """Claim the next attempt and start it. Who does not get the claim leaves it to who did."""
    attempt, keys = decision.attempt, RunKeys(snapshot.run)
    if not write_end(tools, decision.end):
        return
    if not tools.bucket.write_once(keys.attempt(attempt.number), attempt):
        tools.log("wait", run=attempt.run, attempt=attempt.number, why="somebody else has claimed it")
        return
    alarm.set_for(tools, snapshot.run, (snapshot.now + timedelta(seconds=LAUNCH_SECONDS)).timestamp())
    schedules.delete_deadline(tools, snapshot.newest)
    deadline: dict[str, Any] = {"run": attempt.run, "attempt": attempt.number, "deadline": attempt.deadline, "role": tools.scheduler_role}
    schedules.create(tools, timers.create_schedule_request(tools.names, **deadline))
    answer, ask = _first(tools, snapshot.records.spec, attempt, decision.asks)
    if answer is None:
        tools.log("no answer", run=attempt.run, attempt=attempt.number, why="EC2 did not say whether it started an instance")
    elif answer.launched is None or ask is None:
        _none(tools, decision, answer)
    else:
        got, prices = answer.launched, ask.pools
        launched = replace(
            attempt, instance=got.instance, instance_type=got.instance_type, zone=got.zone, spot=ask.spot,
            price=pricing.price_of(prices, got.instance_type, got.zone, spot=ask.spot), launched=contract.build_timestamp(tools.now),
            gpus=fleet.gpus_of(prices, got.instance_type),
        )  # fmt: skip
        tools.bucket.write(keys.attempt(attempt.number), launched)
        schedules.replace(tools, timers.aim_schedule_request(tools.names, **deadline, instance=got.instance))
        tools.log(
            "resumed", run=attempt.run, attempt=attempt.number, instance=got.instance, type=got.instance_type, zone=got.zone,
            spot=ask.spot, why=decision.end.reason,
        )  # fmt: skip


def write_end(tools: Tools, end: AttemptEnd) -> bool:
    """Write how an attempt ended; False when something else has been written meanwhile, which counts."""
    key = RunKeys(end.run).attempt_end(end.number)
    if tools.bucket.write_once(key, end):
        return True
    written = tools.bucket.load(AttemptEnd, key)
    if written is None or written.reason is end.reason:
        return True
    tools.log("wait", run=end.run, attempt=end.number, why=f"it was ended meanwhile: {written.reason}")
    return False


def _none(tools: Tools, decision: Resume, answer: Answer) -> None:
    """No pool had an instance: the attempt is over, and its deadline has nothing to end.

    What no waiting mends, such as a permission or a parameter, is no lack of capacity, and ends the run with EC2's own words.
    """
    attempt = decision.attempt
    schedules.delete_deadline(tools, attempt)
    refused = tuple(dict.fromkeys(f"{error.instance_type}/{error.zone}" for error in answer.errors if error.instance_type))
    end = AttemptEnd(
        attempt.run, attempt.number, EndReason.SETUP_FAILED if answer.final else EndReason.NO_CAPACITY,
        contract.build_timestamp(tools.now), answer.words, decision.end.step, refused=refused,
        hint_code=refusals.hint_code(answer.errors[0].code) if answer.final else "", hint_values={"region": tools.names.region},
    )  # fmt: skip
    tools.bucket.write_once(RunKeys(attempt.run).attempt_end(attempt.number), end)
    tools.log("no instance", run=attempt.run, attempt=attempt.number, refusal=answer.refusal, why=answer.words)


def _first(tools: Tools, spec: Spec, attempt: Attempt, asks: Sequence[Ask]) -> tuple[Answer | None, Ask | None]:
    """The first instance that a request gave, and which request; else every pool's error; None when EC2 left one unanswered."""
    errors: list[PoolError] = []
    for number, ask in enumerate(asks):
        answer = _ask(tools, spec, attempt, ask, number)
        if answer is None:
            return None, None
        if answer.launched:
            return answer, ask
        errors += answer.errors
    return Answer(None, tuple(errors or [PoolError("", "", "NoPrice", "no pool has a price of this kind")])), None


def _ask(tools: Tools, spec: Spec, attempt: Attempt, ask: Ask, number: int) -> Answer | None:
    """One CreateFleet, twice if it has to be; None when it is not known what became of it."""
    request = fleet.create_fleet_request(
        tools.names, spec.launch_template, ask.pools, run=spec.run, attempt=attempt.number, claimed=attempt.claimed,
        deadline=attempt.deadline, spot=ask.spot, keep=not spec.auto_shutdown, image=spec.ami, again=number,
    )  # fmt: skip
    for _ in range(TIMES):
        if answer := _answer(tools, request, ask.pools):
            return answer
    return None


def _answer(tools: Tools, request: dict[str, Any], pools: Sequence[Pool]) -> Answer | None:
    """What EC2 says. An error of its own, or none at all, leaves open whether there is an instance; a refusal does not."""
    try:
        return fleet.read_create_fleet(tools.fleet_client.create_fleet(**request), pools)
    except ClientError as error:
        code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= SERVER_ERROR and (code in refusals.TROUBLE or refusals.classify(code, message).final):
            return None
        return Answer(None, (PoolError("", "", code, message),))
    except BotoCoreError:
        return None
