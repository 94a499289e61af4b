"""Notifications about a run, each sent once: that it has started, was interrupted, has used most of a limit, has ended.

Which are pending follows from the run's documents, so that the next call makes up for one that died before sending. Of two calls at the
same moment the first to write the claim sends. Delivery is at least once: a crash between publishing and recording sends the message again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from llmlab import contract
from llmlab.contract import LEARNED, Attempt, AttemptEnd, EndReason, Marker, Metric, Notice, RunKeys, RunState, Spec
from llmlab.lifecycle import billing
from llmlab.lifecycle.instances import Instance
from llmlab.lifecycle.run_documents import WATCHDOG, Records
from llmlab.watchdog import capacity, run_outcome
from llmlab.watchdog.dependencies import Tools
from llmlab.watchdog.run_outcome import RunSummary
from llmlab.watchdog.run_snapshot import RunSnapshot

CLAIM_SECONDS = 50
"""After this long a call that claimed a message has sent it or has died. Less than the minute after which Lambda retries a failed call.
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html"""
NOTHING = RunSummary()
SUBJECT_LENGTH = 100
"""The longest subject that SNS takes, in ASCII. https://docs.aws.amazon.com/sns/latest/api/API_Publish.html"""


@dataclass(frozen=True)
class Message:
    """A message to send, and the attempts that it covers."""

    notice: Notice
    attempts: tuple[int, ...]
    subject: str
    lines: tuple[str, ...]
    cost: float | None = None
    """US dollars of the run, where it is over."""
    outcome: RunSummary = NOTHING


@dataclass(frozen=True)
class Notification:
    """The document that says that a message was sent, or is about to be."""

    NAME: ClassVar[str] = "told"
    at: str
    subject: str


def notify(tools: Tools, snapshot: RunSnapshot) -> bool:
    """Send all pending messages; False when another call has claimed or sent some of them since the snapshot."""
    sent = [_send(tools, snapshot.records.spec, message) for message in pending(snapshot)]
    marker = snapshot.records.marker
    if snapshot.records.over and marker and (marker.attempts, Notice.END) not in snapshot.records.notified:
        ended = _end(snapshot.run, snapshot.records, marker, run_outcome.read(tools.bucket, snapshot.run, marker))
        sent.append(_send(tools, snapshot.records.spec, ended))
        if sent[-1] and marker.reason.state is RunState.FAILED:
            tools.measure({Metric.FAILED_RUNS: 1})
    return all(sent)


def notify_interruption(tools: Tools, snapshot: RunSnapshot, instance: Instance) -> None:
    """Send the message about a spot interruption that is about to come."""
    if (
        snapshot.records.over
        or instance.attempt != snapshot.newest.number
        or (instance.attempt, Notice.INTERRUPTION) in snapshot.records.notified
    ):
        return
    after = f"Attempt {instance.attempt + 1} then goes on from its newest checkpoint." if snapshot.records.spec.resume else _NO_RESUME
    lines = (
        f"AWS takes {instance.id} ({instance.instance_type} in {instance.zone}) back within two minutes.",
        f"Run {snapshot.run} saves now. {after}",
        f"hint: llmlab status {snapshot.run}",
    )
    _send(
        tools, snapshot.records.spec, Message(Notice.INTERRUPTION, (instance.attempt,), f"run {snapshot.run} is being interrupted", lines)
    )


_NO_RESUME = "It was launched with --no-resume, so that is its end."


def _send(tools: Tools, spec: Spec, message: Message) -> bool:
    """Publish a message and record that; False when another call does. The webhook comes last, so that it can delay neither."""
    run = spec.run
    note = Notification(contract.build_timestamp(tools.now), f"{tools.names.lab}: {message.subject}"[:SUBJECT_LENGTH])
    if not _claim(tools, RunKeys(run), message, note):
        tools.log("wait", run=run, why=f"another call tells of it: {message.notice}")
        return False
    lines = [contract.one_line(line) for line in message.lines]
    tools.sns.publish(TopicArn=tools.topic, Subject=note.subject, Message="\n".join(lines))
    for number in message.attempts:
        tools.bucket.write_once(RunKeys(run).notified(number, message.notice), note)
    tools.log("told", run=run, notice=message.notice, attempts=message.attempts)
    if tools.webhook:
        tools.webhook.post(_facts(tools, spec, message, note.subject, lines))
    return True


def _facts(tools: Tools, spec: Spec, message: Message, subject: str, lines: list[str]) -> dict[str, Any]:
    """The facts that are posted as JSON, with the names of `docs/notifications.md`; unknown ones are null."""
    return {
        "lab": tools.names.lab,
        "region": tools.names.region,
        "run": spec.run,
        "name": spec.name or None,
        "notice": str(message.notice),
        "subject": subject,
        "lines": lines,
        "cost": message.cost,
        **{
            f"{name}_{when}": number
            for name in LEARNED
            for when, number in zip(("before", "after"), message.outcome.learned.get(name, (None, None)), strict=True)
        },
        "log": list(message.outcome.log),
    }


def _claim(tools: Tools, keys: RunKeys, message: Message, note: Notification) -> bool:
    """Claim a message for this call; False while another call has it or has sent it. A claim expires after `CLAIM_SECONDS`.

    A claim may be old because this call is slow: its snapshot is more than a minute old, and the other call has sent in between.
    """
    key = keys.notifying(message.attempts[0], message.notice)
    if tools.bucket.write_once(key, note):
        return True
    claim = tools.bucket.load(Notification, key)
    if claim and (tools.now - contract.parse_timestamp(claim.at)).total_seconds() < CLAIM_SECONDS:
        return False
    if tools.bucket.load(Notification, keys.notified(message.attempts[0], message.notice)):
        return False
    tools.bucket.write(key, note)
    return True


# ---------------------------------------------------------------- what is due


def pending(snapshot: RunSnapshot) -> list[Message]:
    """Messages about an unfinished run that were not sent yet, in order of their events. Pure."""
    if snapshot.records.over:
        return []
    notified, mine, newest = snapshot.records.notified, snapshot.mine, snapshot.newest
    messages = list(_interruptions(snapshot))
    running = mine is not None and mine.state == "running" and snapshot.end is None
    if running and newest.instance and (newest.number, Notice.START) not in notified:
        messages.append(_start(snapshot))
    meter = snapshot.meter
    if running and meter and meter.mostly_used and not any(notice is Notice.CEILING for _, notice in notified):
        messages.append(_ceiling(snapshot, meter.mostly_used))
    return messages


def _interruptions(snapshot: RunSnapshot) -> Iterable[Message]:
    """Messages about attempts that the watchdog resumed, and about the start of an outage: one message where both belong together."""
    records, notified = snapshot.records, snapshot.records.notified
    waiting = capacity.outage(_ends(records))
    first = waiting[0].number if waiting and snapshot.end is not None else 0
    for attempt, following in zip(records.attempts, records.attempts[1:], strict=False):
        end = records.ends.get(attempt.number)
        known = bool(following.instance) or following.number in records.ends
        if end is None or end.reason is EndReason.NO_CAPACITY or following.by != WATCHDOG or not known:
            continue
        if (attempt.number, Notice.INTERRUPTION) not in notified:
            both = (attempt.number, first) if following.number == first else (attempt.number,)
            yield Message(Notice.INTERRUPTION, both, f"run {snapshot.run} was interrupted", _what_next(snapshot, end))
        elif following.number == first and (first, Notice.INTERRUPTION) not in notified:
            yield Message(Notice.INTERRUPTION, (first,), f"run {snapshot.run} waits for capacity", _what_next(snapshot, end))


def _ends(records: Records) -> list[AttemptEnd]:
    return [records.ends[attempt.number] for attempt in records.attempts if attempt.number in records.ends]


# ---------------------------------------------------------------- words


def _start(snapshot: RunSnapshot) -> Message:
    newest, meter = snapshot.newest, snapshot.meter
    hourly = meter.hourly if meter else newest.price
    again = newest.number > 1
    before = snapshot.records.ends.get(newest.number - 1)
    origin = f", from step {before.step}" if again and before and before.step else ", from the start" if again else ""
    most = f" and {billing.dollars(newest.max_cost)}" if newest.max_cost is not None else ""
    lines = (
        f"Attempt {newest.number} of run {snapshot.run} is on {_place(newest)}{origin}.",
        (
            f"It costs {billing.dollars(hourly)} an hour, disk and address included where they are known; "
            f"{billing.dollars(newest.cost_before)} were used before."
        ),
        f"The run may use {_many(newest.max_hours, 'hour')}{most} in all; this instance ends by {_clock(newest.deadline, snapshot.now)}.",
        "The laptop may be closed.",
        f"hint: llmlab logs {snapshot.run} -f",
    )
    return Message(Notice.START, (newest.number,), f"run {snapshot.run} {'goes on' if again else 'has started'}", lines)


def _what_next(snapshot: RunSnapshot, end: AttemptEnd) -> tuple[str, ...]:
    """Lines on how an attempt ended and what follows it."""
    records, newest = snapshot.records, snapshot.newest
    waiting = capacity.outage(_ends(records)) if snapshot.end is not None else ()
    after = next((attempt for attempt in records.attempts if attempt.number == end.number + 1), newest)
    if waiting:
        again = capacity.next_try(records.spec, waiting, records.attempts)
        then = (
            f"No pool has an instance ({waiting[-1].detail}). It is asked for again at {again:%H:%M} UTC and, with longer pauses, "
            f"until {capacity.given_up_at(records.spec, waiting):%Y-%m-%d %H:%M} UTC."
        )
    else:
        then = f"Attempt {after.number} goes on from step {end.step} on {_place(after if after.instance else newest)}."
    if after.shrink > 1 and end.reason is EndReason.OUT_OF_MEMORY:
        recipe = records.spec.recipe
        then += f" It trains with {contract.batch_words(recipe, after.shrink)} instead of {contract.batch_words(recipe, 1)}: the same step."
    return (
        f"Attempt {end.number} of run {snapshot.run} ended ({end.reason}){f': {end.detail}' if end.detail else ''}.",
        then,
        f"hint: llmlab status {snapshot.run}",
    )


def _ceiling(snapshot: RunSnapshot, used: str) -> Message:
    lines = (
        f"Run {snapshot.run} has used {used}, which is {billing.MOST_OF_IT:.0%} or more of what it may.",
        "It saves and ends by itself before it has used all of it.",
        f"hint: llmlab stop {snapshot.run}",
    )
    return Message(Notice.CEILING, (snapshot.newest.number,), f"run {snapshot.run} has used most of a limit", lines)


def _end(run: str, records: Records, marker: Marker, outcome: RunSummary) -> Message:
    detail = f": {marker.detail}" if marker.detail else ""
    parts = billing.total_parts(end.costs for end in records.ends.values())
    by_part = f" ({', '.join(f'{what} {billing.dollars(dollars)}' for what, dollars in parts.items())})" if parts else ""
    lines = (
        f"Run {run} {marker.reason.state} ({marker.reason}){detail}",
        (
            f"Step {marker.step} of {marker.total_steps}, {_many(marker.attempts, 'attempt')}, {marker.hours:.2f} hours, "
            f"{billing.dollars(marker.cost)}{by_part}"
        ),
        *(f"{name.capitalize()} {first:.4g} at first, {last:.4g} at last" for name, (first, last) in outcome.learned.items()),
        *(["Its log ends:", *(f"| {line}" for line in outcome.log)] if outcome.log else []),
        f"hint: {marker.command(run, records.spec)}",
    )
    return Message(Notice.END, (marker.attempts,), f"run {run} {marker.reason.state}", lines, marker.cost, outcome)


def _many(count: float, what: str) -> str:
    return f"{count:g} {what}{'' if count == 1 else 's'}"


def _place(attempt: Attempt) -> str:
    return f"{attempt.instance_type} in {attempt.zone}, {'spot' if attempt.spot else 'on demand'}"


def _clock(moment: int, now: datetime) -> str:
    return f"{datetime.fromtimestamp(moment, now.tzinfo):%Y-%m-%d %H:%M} UTC"
