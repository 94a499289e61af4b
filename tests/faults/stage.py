"""An account, a folder and a clock on which commands are played, and what can be seen of them afterwards."""

import copy
import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmlab import contract
from llmlab.aws.session import Aws
from llmlab.clock import Clock, ManualClock, SystemClock
from llmlab.contract import PROJECT, Env, Names
from llmlab.lifecycle import one_time_schedules
from llmlab.watchdog import events, handler
from llmlab.watchdog.reconcile import Watchdog
from tests.account import everything
from tests.cli.conftest import CommandLine, Result
from tests.conftest import REGION
from tests.faults.keeper import Command, Keeper
from tests.faults.line import CHANGING, Line

SERVICES = (
    "sts", "s3", "ec2", "iam", "ecr", "logs", "sns", "cloudwatch", "events", "lambda", "scheduler", "ssm", "secretsmanager",
    "service-quotas", "resourcegroupstaggingapi",
)  # fmt: skip
MAX_HOURS = 6


@dataclass
class Stage:
    """`aws` is the commands' own, which nobody else asks anything; `eyes` look at the account past the line."""

    keeper: Keeper
    aws: Aws
    eyes: Aws
    clock: ManualClock
    folder: Path
    watchdog: Any = None

    def typed(self, *arguments: str | Path, stdin: str = "") -> Command:
        """The command that types this line in the folder."""

        def command() -> tuple[Result, ManualClock]:
            os.chdir(self.folder)
            return CommandLine(aws=copy.copy(self.aws), clock=self.clock)(*arguments, stdin=stdin), self.clock

        return command

    def woken(self, event: dict[str, Any]) -> Command:
        """The command that hands the watchdog's function an event; what it raises is what Lambda would see."""

        def command() -> tuple[Result, ManualClock]:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # its log
            try:
                self.watchdog.wake(events.parse(event))
            except Exception as error:  # noqa: BLE001 - as Lambda does
                return Result(1, "", f"error: {error}\nhint: llmlab again"), self.clock
            return Result(0, "", ""), self.clock

        return command

    def do(self, command: Command) -> Result:
        """Run a command undisturbed; it must succeed."""
        (outcome,) = self.keeper.run(command)
        result: Result = outcome.result[0]
        self.clock.time = outcome.result[1].time
        assert result.code == 0, (result.out, result.err)
        return result

    def ring(self) -> None:
        """Let the alarm clocks of runs that are due go off, as EventBridge Scheduler would."""
        scheduler = self.eyes.client("scheduler")
        for name in sorted(name for name in self.schedules() if name.endswith(one_time_schedules.wake_name(""))):
            found = scheduler.get_schedule(GroupName=self.eyes.names.schedule_group, Name=name)
            if one_time_schedules.schedule_moment(found["ScheduleExpression"]) <= self.clock.now():
                scheduler.delete_schedule(GroupName=self.eyes.names.schedule_group, Name=name)
                self.do(self.woken(json.loads(found["Target"]["Input"])))

    # ------------------------------------------------------------ looking

    def build_watchdog(self) -> None:
        self.watchdog = build_watchdog(self.eyes.names, self.clock)

    def seen(self) -> Counter[str]:
        """Everything that is in the account and in the folder, identities and moments left out: equal for what cannot be told apart."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        here = Counter(f"{path.relative_to(self.folder)} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}" for path in files)
        return self.account() + Counter({CHANGING.sub("*", key): count for key, count in here.items()})

    def account(self) -> Counter[str]:
        """Everything that is in the account alone."""
        there = Counter(CHANGING.sub("*", one) for one in everything(self.eyes))
        for bucket in (one["Name"] for one in self.eyes.s3.list_buckets()["Buckets"]):
            there.update(CHANGING.sub("*", f"{bucket}/{key}") for key in self.keys(bucket))
        there.update(f"{one['State']['Name']} {sorted(tags(one).items())}" for one in self.instances())
        return Counter({CHANGING.sub("*", key): count for key, count in there.items()})

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        pages = self.eyes.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def instances(self) -> list[Any]:
        """Those that cost money."""
        pages = self.eyes.ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["pending", "running", "stopped"]}])
        return [one for reservation in pages["Reservations"] for one in reservation["Instances"]]

    def schedules(self) -> set[str]:
        found = self.eyes.client("scheduler").list_schedules(GroupName=self.eyes.names.schedule_group)["Schedules"]
        return {one["Name"] for one in found}

    def read(self, kind: type[Any], bucket: str, key: str) -> Any:
        body = self.eyes.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return contract.load(kind, body)

    def runs(self) -> list[str]:
        return sorted({key.split("/")[1] for key in self.keys(self.eyes.names.outputs_bucket, contract.RUNS)})

    def moved(self, name: str) -> None:
        """Go on in a copy of the folder: what a copy of the account does to files does not reach the original."""
        fresh = self.folder.with_name(name)
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(self.folder, fresh, symlinks=True)
        self.folder = fresh


def build_watchdog(names: Names, clock: Clock) -> Watchdog:
    """The watchdog as its function builds it, on another clock."""
    role = f"arn:aws:iam::{names.account}:role/{names.scheduler_role}"
    facts = {
        Env.TOPIC: names.arn("sns", names.topic), Env.LAB: names.lab, Env.OUTPUTS_BUCKET: names.outputs_bucket,
        Env.SCHEDULER_ROLE: role, Env.MAX_HOURS: str(MAX_HOURS),
    }  # fmt: skip
    return handler.build({str(key): value for key, value in facts.items()}, clock)


def tags(instance: Any) -> dict[str, str]:
    return {one["Key"]: re.sub(r"^\d{10}$", "*", one["Value"]) for one in instance.get("Tags", []) if not one["Key"].startswith("aws:")}


def build(line: Line, folder: Path, account: Callable[[], Aws] | None = None) -> Stage:
    """An empty account. Every client is made here once: in each command it would cost tens of milliseconds."""

    def warm(made: Aws) -> Aws:
        for service in SERVICES:
            made.client(service)
        for service in ("budgets", "ce", "pricing"):
            made.client(service, region="us-east-1")
        made.client("ec2", attempts=1)
        return made

    folder.mkdir(parents=True, exist_ok=True)
    home = folder / "home"
    home.mkdir()
    aws, eyes = (account or plain)(), plain()
    return Stage(Keeper(line, folder), warm(aws), warm(eyes), ManualClock(SystemClock().now().replace(microsecond=0)), home)


def plain() -> Aws:
    return Aws(REGION, lab=PROJECT)
