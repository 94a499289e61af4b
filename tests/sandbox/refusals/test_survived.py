"""Each rule that the program is to survive, and what the user does while it holds: it ends as without, or says what the rule means.

A rule that holds by name stands in `NOT_YET` until the program survives it; then it holds always, or stays by name and leaves that list.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmlab.aws.session import Aws
from llmlab.clock import ManualClock, SystemClock
from llmlab.contract import PROJECT
from llmlab.sandbox import market
from llmlab.sandbox.completion_delays import DELAY
from llmlab.sandbox.completion_lambda import RUNTIME
from llmlab.sandbox.refusals.rule import On, Until
from llmlab.sandbox.refusals.switch import SWITCH, switched
from llmlab.sandbox.refusals.table import BY_NAME, ROWS
from llmlab.watchdog import events
from tests.account import everything
from tests.cli.conftest import CommandLine, Result, put_dataset, put_image
from tests.faults.stage import build_watchdog
from tests.live.probes import PROBES

BOOTSTRAP = ("bootstrap", "--yes", "--email", "me@example.org", "--budget", "50")
TEARDOWN = ("teardown", "--everything", "--confirm", PROJECT)

pytestmark = pytest.mark.slow  # each has a lab of its own: seconds


@dataclass
class World:
    """A user at a command line; the rule holds from `begin` on."""

    lab: CommandLine
    aws: Aws
    clock: ManualClock
    rule: str

    def ok(self, *line: str, stdin: str = "") -> Result:
        result = self.lab(*line, stdin=stdin)
        assert result.code == 0, result.err
        return result

    def fails(self, *line: str) -> str:
        """The error and the hint of a command that cannot do; what waiting alone mends has the check-up as its hint."""
        result = self.lab(*line)
        assert result.code != 0, result.out
        assert result.hint not in ({""} if BY_NAME[self.rule].until is Until.WAITING else {"", "llmlab doctor"}), result.err
        return f"{result.error}\n{result.hint}"

    def stand(self, *launch: str) -> None:
        """A lab with an image and data, and a run where a launch's options are given."""
        self.ok(*BOOTSTRAP)
        put_image(self.aws, "latest")
        put_dataset(self.aws, "sums")
        if launch:
            self.ok("launch", "--yes", "--max-hours", "1", *launch)

    def begin(self) -> None:
        SWITCH.turn_on([self.rule])


def _bootstraps(world: World) -> None:
    world.begin()
    world.ok(*BOOTSTRAP)
    assert world.ok("bootstrap", "--plan", *BOOTSTRAP[2:]).code == 0


def _bootstraps_and_tears_down(world: World) -> None:
    DELAY.seconds = 10
    before = everything(world.aws)
    _bootstraps(world)
    world.ok(*TEARDOWN)
    world.clock.sleep(120)
    SWITCH.turn_off()
    DELAY.seconds = 0
    assert everything(world.aws) - before == {"role AWSServiceRoleForEC2Spot"}


def _tears_down_after_a_run(world: World) -> None:
    before = everything(world.aws)
    world.begin()
    world.stand("--spot")
    world.ok(*TEARDOWN)
    world.clock.sleep(120)
    SWITCH.turn_off()
    assert {one for one in everything(world.aws) - before if not one.startswith("role AWS")} == set()


def _is_made_anew_at_once(world: World) -> None:
    world.begin()
    world.ok(*BOOTSTRAP)
    world.ok(*TEARDOWN)
    world.ok(*BOOTSTRAP)


def _launches(world: World) -> None:
    world.stand()
    world.begin()
    world.ok("launch", "--yes", "--max-hours", "1", "--spot")
    assert len(world.ok("status", "--json").json["runs"]) == 1


def _falls_back(world: World) -> None:
    market.set_quota(world.aws.region, "L-3819A6DF", 8)
    world.stand("--spot")
    (run,) = world.ok("status", "--json").json["runs"]
    world.ok("stop", run["run"], "--now")
    market.set_quota(world.aws.region, "L-3819A6DF", 4)
    world.begin()
    world.ok("launch", "--yes", "--max-hours", "1", "--spot", "--fallback-on-demand")


def _dies(world: World, *, passes: bool = False) -> Any:
    """An instance that ends before it runs, of which the watchdog hears; the run as its user sees it. `passes`: the next one would run."""
    world.stand()
    world.begin()
    run = world.ok("launch", "--yes", "--max-hours", "1", "--json").json
    if passes:
        SWITCH.turn_off()
    gone = {"detail-type": events.STATE_CHANGE, "detail": {"instance-id": run["instance"], "state": "terminated"}}
    build_watchdog(world.aws.names, world.clock).wake(events.parse(gone))
    return world.ok("status", run["run"], "--json").json["run"]


def _is_told(words: str, hint: str) -> Callable[[World], None]:
    def scenario(world: World) -> None:
        run = _dies(world)
        assert (run["state"], run["reason"], run["attempt"]) == ("failed", "setup_failed", 1), run
        assert words in run["detail"]
        assert run["hint"].startswith(hint)

    return scenario


def _is_tried_again(world: World) -> None:
    run = _dies(world, passes=True)
    assert (run["state"], run["attempt"]) == ("starting", 2), run


def _sets_a_secret_again(world: World) -> None:
    world.ok(*BOOTSTRAP)
    world.begin()
    world.ok("secret", "set", "hf-token", stdin="hf_one")
    world.ok("secret", "remove", "hf-token")
    world.ok("secret", "set", "hf-token", stdin="hf_two")


def _empties_a_bucket(world: World) -> None:
    world.ok(*BOOTSTRAP)
    world.aws.s3.put_object(Bucket=world.aws.names.outputs_bucket, Key="runs/1/output/\x1b[2J", Body=b"x")
    world.begin()
    world.ok(*TEARDOWN)


def _subscribes_again(world: World) -> None:
    world.ok(*BOOTSTRAP)
    world.begin()
    planned = world.lab("bootstrap", "--plan", *BOOTSTRAP[2:])
    assert (planned.code, "+ alert e-mail" in planned.out) == (3, True)
    assert world.lab("doctor").code != 0
    world.ok(*TEARDOWN)


def _names_the_stranger(world: World) -> None:
    """GuardDuty's endpoint is not ours to keep: it goes, or is named."""
    world.begin()
    world.stand("--spot")
    result = world.lab(*TEARDOWN)
    assert result.code == 0 or "guardduty" in result.err.lower()


def _costs_without_cost_explorer(world: World) -> None:
    """Our own figures stand, and why there are no others."""
    world.ok(*BOOTSTRAP)
    world.begin()
    result = world.ok("cost")
    assert "cost explorer" in f"{result.out}{result.err}".lower()


def _says(*words: str, line: tuple[str, ...] = ("launch", "--yes", "--max-hours", "1"), standing: bool = True) -> Callable[[World], None]:
    def scenario(world: World) -> None:
        if standing:
            world.stand()
        world.begin()
        said = world.fails(*line).lower()
        assert all(word in said for word in words), said

    return scenario


SPOT = ("launch", "--yes", "--max-hours", "1", "--spot")
SCENARIOS: dict[str, Callable[[World], None]] = {
    "function-role-not-granted-yet": _bootstraps_and_tears_down,
    "bucket-settings-one-after-the-other": _bootstraps,
    "bucket-not-seen-yet": _bootstraps,
    "budget-without-notifications": _bootstraps,
    "notification-without-subscribers": _bootstraps,
    "dashboard-made-with-warnings": _bootstraps,
    "interfaces-linger": _tears_down_after_a_run,
    "endpoint-stays-deleting": _tears_down_after_a_run,
    "route-table-waits-for-its-endpoint": _tears_down_after_a_run,
    "schedule-group-stays-deleting": _is_made_anew_at_once,
    "bucket-deleted-a-moment-ago": _is_made_anew_at_once,
    "conditional-write-conflicts": _launches,
    "conditional-write-succeeds-and-is-not-answered": _launches,
    "too-many-requests": _launches,
    "spot-vcpus-freed-late": _falls_back,
    "spot-role-unseen": _launches,
    "disk-cannot-be-decrypted": _is_told(
        "the disk could not be decrypted: the policy of its key", "aws kms create-grant --region us-east-1"
    ),
    "volume-limit": _is_told("as many disks", "aws service-quotas list-service-quotas --service-code ebs"),
    "internal-error-on-launch": _is_tried_again,
    "secret-being-deleted": _sets_a_secret_again,
    "keys-that-xml-has-not": _empties_a_bucket,
    "unsubscribed-by-a-click": _subscribes_again,
    "guardduty-endpoint": _names_the_stranger,
    "denied-by-the-organization-ec2": _says("service control policy"),
    "denied-by-the-organization": _says("service control policy", line=BOOTSTRAP, standing=False),
    "denied-by-a-boundary": _says("permissions boundary", line=BOOTSTRAP, standing=False),
    "service-not-signed-up-for": _says("sign"),
    "account-being-verified": _says("still checking this account"),
    "account-blocked": _says("aws-verification@amazon.com"),
    "free-plan": _says("free"),
    "cost-explorer-never-opened": _costs_without_cost_explorer,
}
NOT_YET: set[str] = set()
ELSEWHERE = {
    "region-not-enabled-ec2", "region-not-enabled-query", "region-not-enabled-json",  # tests/unit of the translation
    "quotas-of-a-new-account", "e-mail-unconfirmed", "cost-tags-not-listed-yet", "cost-tags-not-known-yet", "cost-tags-of-a-member",
    "metadata-tags-not-there-yet", "metadata-not-ready",  # the machine's
    "scans-are-enhanced", "scan-not-begun",  # the workflow's
}  # fmt: skip
"""Rules by name that other tests turn on."""
PROBED = {rule for probe in PROBES for rule in probe.rules}
"""The other answers to what no document says."""


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    """The commands' and the account's."""
    manual = ManualClock(SystemClock().now().replace(microsecond=0))
    before, RUNTIME.clock = RUNTIME.clock, manual
    yield manual
    RUNTIME.clock, DELAY.seconds = before, 0


@pytest.mark.parametrize(
    "rule", [pytest.param(name, marks=[pytest.mark.xfail(strict=True)] if name in NOT_YET else []) for name in SCENARIOS]
)
def test_a_rule_is_survived_or_explained(lab_aws: Aws, clock: ManualClock, project: Path, rule: str) -> None:
    with switched():
        SCENARIOS[rule](World(CommandLine(aws=lab_aws, clock=clock), lab_aws, clock, rule))


def test_every_rule_by_name_is_survived_somewhere() -> None:
    by_name = {rule.name for rule in ROWS if rule.on is not On.ALWAYS}
    assert by_name <= set(SCENARIOS) | ELSEWHERE | PROBED <= set(BY_NAME)
    assert set(SCENARIOS) >= NOT_YET
