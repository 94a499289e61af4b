"""The Lambda function's entry point: environment, boto3 clients, clock and log of the watchdog."""

import functools
import json
import os
import pkgutil
import sys
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config

from llmlab.clock import Clock, SystemClock
from llmlab.contract import WEBHOOK_URL, Env, Names
from llmlab.lifecycle.run_documents import RunDocuments
from llmlab.watchdog import overdue
from llmlab.watchdog.events import Overdue, parse
from llmlab.watchdog.reconcile import Watchdog
from llmlab.watchdog.webhook_delivery import Webhook

LAB = "lab.json"
"""The file next to this module in the zip: `contract.Env` → value."""


def handler(event: Mapping[str, Any], context: object = None, *, clock: Clock | None = None) -> None:  # noqa: ARG001 - Lambda's signature
    """Handle one event. Errors of AWS are raised: Lambda retries, and everything here may be repeated."""
    what, environment, clock = parse(event), {**_lab(), **os.environ}, clock or SystemClock()
    if isinstance(what, Overdue):
        region, account = environment[Env.TOPIC].split(":")[3:5]
        names = Names(environment[Env.LAB], account, region)
        overdue.look(_ec2(region), names, float(environment[Env.MAX_HOURS]), clock, _log(clock))
    else:
        build(environment, clock).wake(what)


@functools.cache
def _ec2(region: str) -> Any:
    """The EC2 client of the minute's check, kept between calls: making one takes longer than the rest of the check."""
    config = Config(retries={"total_max_attempts": 5, "mode": "standard"}, connect_timeout=5, read_timeout=10)
    return boto3.Session(region_name=region).client("ec2", config=config)


def _lab() -> Mapping[str, str]:
    """The lab's settings in the zip, {} without any. The environment, which tests set, takes precedence."""
    try:
        settings: Mapping[str, str] = json.loads(pkgutil.get_data("llmlab.watchdog", LAB) or b"{}")
    except OSError:
        return {}
    return settings


def build(environment: Mapping[str, str], clock: Clock) -> Watchdog:
    """Build the watchdog of this function. Account and region come from the topic's ARN."""
    topic = environment[Env.TOPIC]
    region, account = topic.split(":")[3:5]
    session = boto3.Session(region_name=region)
    config = Config(retries={"total_max_attempts": 5, "mode": "standard"}, connect_timeout=5, read_timeout=30)
    once = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60)
    soon = Config(retries={"total_max_attempts": 2, "mode": "standard"}, connect_timeout=2, read_timeout=3)
    names, log = Names(environment[Env.LAB], account, region), _log(clock)
    return Watchdog(
        names=names,
        bucket=RunDocuments(session.client("s3", config=config), environment[Env.OUTPUTS_BUCKET], clock),
        ec2=session.client("ec2", config=config),
        fleet_client=session.client("ec2", config=once),
        scheduler=session.client("scheduler", config=config),
        sns=session.client("sns", config=config),
        cloudwatch=session.client("cloudwatch", config=config),
        topic=topic,
        scheduler_role=environment[Env.SCHEDULER_ROLE],
        max_hours=float(environment[Env.MAX_HOURS]),
        clock=clock,
        log=log,
        webhook=Webhook(lambda: session.client("secretsmanager", config=soon), names.secret(WEBHOOK_URL), log),
    )


def _log(clock: Clock) -> Any:
    """The log function: one JSON line for each decision."""

    def log(decision: str, **facts: object) -> None:
        line = {"at": clock.now().isoformat(timespec="seconds"), "decision": decision, **facts}
        sys.stdout.write(json.dumps(line, default=str) + "\n")
        sys.stdout.flush()

    return log
