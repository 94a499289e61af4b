"""The hour itself: what a user does, on spot and on demand, through a stop, an interruption and want of memory, to nothing left."""

from collections.abc import Callable
from typing import Any

from llmlab.clock import wait_until
from tests.live.ground import LAB, Ground
from tests.live.interruption import interrupt, living

TYPES = "g4dn.xlarge,g5.xlarge,g6.xlarge"
HOURS, DOLLARS = "0.5", 0.6
"""Of each launch, as `--max-hours` and `--max-cost`; three are made, and the account's other costs of an hour are cents."""
MOST_DOLLARS = 2.0
ENDLESS = ("--set", "max_steps=1000000", "--set", "save_steps=5")
LAUNCH = (
    "launch",
    "--yes",
    "--recipe",
    "sandbox",
    "--data",
    "live",
    "--instance-type",
    TYPES,
    "--max-hours",
    HOURS,
    "--max-cost",
    str(DOLLARS),
)
LIMIT_SECONDS = 1500
TEARDOWN = ("teardown", "--everything", "--confirm", LAB)


class Failed(Exception):
    """A step did not do what it says."""


class Journey:
    """Each step's docstring is its name in the report; it returns what is worth telling."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.every_seconds = 0.5 if ground.sandbox else 10.0

    def until(self, what: str, check: Callable[[], object]) -> None:
        if not wait_until(lambda: bool(check()), self.ground.clock, limit_seconds=LIMIT_SECONDS, every_seconds=self.every_seconds):
            raise Failed(f"waited {LIMIT_SECONDS} s for {what}")

    def run_of(self, *options: str) -> str:
        """Launch; the run's id."""
        before = {one["run"] for one in self.ground.ask("status", "--all")["runs"]}
        self.ground.llmlab(*LAUNCH, *options)
        (new,) = {one["run"] for one in self.ground.ask("status", "--all")["runs"]} - before
        return str(new)

    def state(self, run: str) -> dict[str, Any]:
        return dict(self.ground.ask("status", run)["run"])

    def until_step(self, run: str, step: int) -> int:
        """Until the run has done a step; the step that it is at."""
        self.until(f"step {step}", lambda: (self.state(run).get("step") or 0) >= step)
        return int(self.state(run)["step"])

    # ------------------------------------------------------------ the steps

    def clean(self) -> str:
        """nothing of this lab from before"""
        self.ground.llmlab(*TEARDOWN)
        return "torn down"

    def bootstrap(self) -> str:
        """bootstrap, and a second one with nothing to do"""
        self.ground.llmlab("bootstrap", "--yes", "--budget", "2")
        self.ground.llmlab("bootstrap", "--plan", "--budget", "2")
        return "the plan is empty"

    def stock(self) -> str:
        """image, model and data"""
        if self.ground.sandbox is None:
            self.ground.llmlab("image", "build")
            self.ground.llmlab("image", "push")
        for line in ("sandbox model tiny", "sandbox data data", "upload tiny --model tiny", "upload data --name live"):
            self.ground.llmlab(*line.split())
        return "uploaded"

    def doctor(self) -> str:
        """doctor"""
        checks = self.ground.ask_any("doctor")["checks"]
        return "; ".join(f"{one['name']}: {one['says']}" for one in checks if one["health"] != "ok") or "all good"

    def spot(self) -> str:
        """spot: launch, stop, resume, interruption, and on to another instance"""
        run = self.run_of("--spot", *ENDLESS)
        self.until_step(run, 3)
        self.ground.llmlab("stop", run)
        self.until("the stop", lambda: not living(self.ground, run))
        stopped = int(self.state(run).get("step") or 0)
        self.ground.llmlab("resume", "--yes", run)
        at = self.until_step(run, stopped + 2)
        (first,) = living(self.ground, run)
        how = interrupt(self.ground, run)
        self.until("another instance", lambda: living(self.ground, run) not in ([], [first]))
        again = self.until_step(run, at + 1)
        self.ground.llmlab("stop", run, "--now")
        return f"stopped at step {stopped}, {how} at {at}, went on to {again}"

    def on_demand(self) -> str:
        """on demand: launch to the end, fetch, report, cost"""
        run = self.run_of("--on-demand", "--set", "max_steps=10")
        self.until("its end", lambda: self.state(run)["state"] in {"succeeded", "failed"})
        found = self.state(run)
        if found["state"] != "succeeded":
            raise Failed(f"ended {found['state']}: {found.get('reason')} {found.get('detail')}")
        for line in (("fetch", run), ("report", run), ("cost",)):
            self.ground.llmlab(*line)
        return f"succeeded on {found.get('instance_type')}"

    def memory(self) -> str:
        """want of memory, and its second attempt"""
        large = ENDLESS if self.ground.sandbox else ("--set", "batch_size=2048", "--set", "max_length=2048")
        run = self.run_of("--on-demand", *large)
        if self.ground.sandbox:
            self.until_step(run, 3)
            (instance,) = living(self.ground, run)
            self.ground.sandbox.kill_container(instance, "llmlab-training", memory=True)
        self.until("the second attempt, or its end", lambda: self._over_or_again(run))
        shown = self.ground.ask("status", run)
        self.ground.llmlab("stop", run, "--now", codes=(0, 1))
        return (
            f"{len(shown['attempts'])} attempts; ended: {', '.join(str(one['reason']) for one in shown['ends']) or shown['run']['reason']}"
        )

    def _over_or_again(self, run: str) -> bool:
        shown = self.ground.ask("status", run)
        return len(shown["attempts"]) > 1 or shown["run"]["state"] in {"succeeded", "failed"}

    def teardown(self) -> str:
        """teardown, and nothing left"""
        self.ground.llmlab(*TEARDOWN)
        left = leftovers(self.ground)
        if left:
            raise Failed(f"left: {', '.join(sorted(left))}")
        return "nothing is left"

    def steps(self) -> tuple[Callable[[], str], ...]:
        """In order. The last one is done whatever happened."""
        return (self.clean, self.bootstrap, self.stock, self.doctor, self.spot, self.on_demand, self.memory)


def leftovers(ground: Ground) -> set[str]:
    """What carries the lab's name or tag, by each service's own list."""
    from tests.account import everything

    named = {one for one in everything(ground.aws) if LAB in one}
    filters: Any = [{"Name": "tag:Lab", "Values": [LAB]}]
    ec2: Any = ground.aws.ec2
    return (
        named
        | {one["VpcId"] for one in ec2.describe_vpcs(Filters=filters)["Vpcs"]}
        | {one["VolumeId"] for one in ec2.describe_volumes(Filters=filters)["Volumes"]}
    )
