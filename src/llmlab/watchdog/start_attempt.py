"""Starting another attempt: its claim → the follow-up → its deadline → CreateFleet, pool after pool → its instance recorded.

The call may die after any of these steps and be repeated: only the first writer of the claim may start the attempt; a claim that stays
without an instance is checked by the follow-up; an instance that no claim names is found by its tag (`run_snapshot`); and a request that
EC2 did not answer leaves the claim open until its result is visible.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from llmlab import contract
from llmlab.contract import Attempt, AttemptEnd, EndReason, Pool, RunKeys, Spec
from llmlab.lifecycle import attempt_start, create_fleet, finish_run, one_time_schedules, refusals
from llmlab.lifecycle.create_fleet import Answer, PoolError
from llmlab.watchdog import followup
from llmlab.watchdog.capacity import Ask
from llmlab.watchdog.dependencies import Tools
from llmlab.watchdog.policy import LAUNCH_SECONDS, Resume
from llmlab.watchdog.run_snapshot import RunSnapshot

TIMES = 2
"""How often the same request is sent when EC2 does not answer. Its client token makes that one instance at most."""
SERVER_ERROR = 500


def start(tools: Tools, snapshot: RunSnapshot, decision: Resume) -> None:
    """Claim the next attempt and start its instance, unless another caller has the claim."""
    attempt, keys = decision.attempt, RunKeys(snapshot.run)
    if not write_end(tools, decision.end):
        return
    if not tools.bucket.write_once(keys.attempt(attempt.number), attempt):
        tools.log("wait", run=attempt.run, attempt=attempt.number, why="somebody else has claimed it")
        return
    followup.set_for(tools, snapshot.run, (snapshot.now + timedelta(seconds=LAUNCH_SECONDS)).timestamp())
    tools.delete_deadline(snapshot.newest)
    one_time_schedules.create(tools.scheduler, attempt_start.deadline_schedule(tools.names, attempt, tools.scheduler_role))
    answer, ask = _first(tools, snapshot.records.spec, attempt, decision.asks)
    if answer is None:
        tools.log("no answer", run=attempt.run, attempt=attempt.number, why="EC2 did not say whether it started an instance")
    elif answer.launched is None or ask is None:
        _none(tools, decision, answer)
    else:
        started = attempt_start.with_instance(replace(attempt, spot=ask.spot), answer.launched, ask.pools, tools.now)
        tools.bucket.write(keys.attempt(attempt.number), started)
        one_time_schedules.put(tools.scheduler, attempt_start.deadline_schedule(tools.names, started, tools.scheduler_role))
        tools.log(
            "resumed", run=started.run, attempt=started.number, instance=started.instance, type=started.instance_type, zone=started.zone,
            spot=started.spot, why=decision.end.reason,
        )  # fmt: skip


def write_end(tools: Tools, end: AttemptEnd) -> bool:
    """Write the end of an attempt; False when another reason has been written meanwhile, which then counts."""
    counts = finish_run.write_attempt_end(tools.bucket, end)
    if counts is not end.reason:
        tools.log("wait", run=end.run, attempt=end.number, why=f"it was ended meanwhile: {counts}")
    return counts is end.reason


def _none(tools: Tools, decision: Resume, answer: Answer) -> None:
    """Write the end of an attempt that got no instance, and delete its deadline schedule.

    An error that waiting cannot fix, such as a permission or a parameter, is no lack of capacity, and ends the run with EC2's message.
    """
    attempt = decision.attempt
    tools.delete_deadline(attempt)
    refused = tuple(dict.fromkeys(f"{error.instance_type}/{error.zone}" for error in answer.errors if error.instance_type))
    end = AttemptEnd(
        attempt.run, attempt.number, EndReason.SETUP_FAILED if answer.final else EndReason.NO_CAPACITY,
        contract.build_timestamp(tools.now), answer.words, decision.end.step, refused=refused,
        hint_code=refusals.hint_code(answer.errors[0].code) if answer.final else "", hint_values={"region": tools.names.region},
    )  # fmt: skip
    tools.bucket.write_once(RunKeys(attempt.run).attempt_end(attempt.number), end)
    tools.log("no instance", run=attempt.run, attempt=attempt.number, refusal=answer.refusal, why=answer.words)


def _first(tools: Tools, spec: Spec, attempt: Attempt, asks: Sequence[Ask]) -> tuple[Answer | None, Ask | None]:
    """The first answer with an instance, and its request; else the errors of all pools; (None, None) when EC2 left a request unanswered."""
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
    """Send one CreateFleet request, repeated without an answer; None when its result is unknown."""
    request = attempt_start.fleet_request(tools.names, spec, replace(attempt, spot=ask.spot), ask.pools, again=number)
    for _ in range(TIMES):
        if answer := _answer(tools, request, ask.pools):
            return answer
    return None


def _answer(tools: Tools, request: dict[str, Any], pools: Sequence[Pool]) -> Answer | None:
    """EC2's answer; None for a server error or no answer, after which an instance may or may not exist."""
    try:
        return create_fleet.read_create_fleet(tools.fleet_client.create_fleet(**request), pools)
    except ClientError as error:
        code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= SERVER_ERROR and (code in refusals.TROUBLE or refusals.classify(code, message).final):
            return None
        return Answer(None, (PoolError("", "", code, message),))
    except BotoCoreError:
        return None
