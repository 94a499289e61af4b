"""An account of today: each gate is told by its name, mended as its owner would, and passed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmlab.aws.session import Aws
from llmlab.clock import ManualClock, SystemClock
from llmlab.sandbox import market
from llmlab.sandbox.completion_lambda import RUNTIME
from llmlab.sandbox.refusals.rule import On
from llmlab.sandbox.refusals.switch import SWITCH, switched
from llmlab.sandbox.refusals.table import ROWS
from tests.cli.conftest import CommandLine, put_dataset, put_image

LAUNCH = ("launch", "--yes", "--max-hours", "1")
QUOTAS = ("L-DB2E81BA", "L-3819A6DF")


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    manual = ManualClock(SystemClock().now().replace(microsecond=0))
    before, RUNTIME.clock = RUNTIME.clock, manual
    yield manual
    RUNTIME.clock = before


def failed(lab: CommandLine) -> dict[str, str]:
    """The checks of the doctor that are not well: name → what it says."""
    checks = lab("doctor", "--json").json["checks"]
    return {one["name"]: one["message"] for one in checks if one["health"] in {"failed", "warning"}}


@pytest.mark.slow  # a bootstrap and two launches
def test_every_gate_of_a_new_account_is_told_mended_and_passed(lab_aws: Aws, clock: ManualClock, project: Path) -> None:
    lab = CommandLine(aws=lab_aws, clock=clock)
    with switched(modes=["new-account"]):
        assert lab("bootstrap", "--yes", "--email", "me@example.org", "--budget", "50").code == 0
        put_image(lab_aws, "latest")
        put_dataset(lab_aws, "sums")
        told = failed(lab)
        assert {"account plan", "e-mail", "cost tags"} <= set(told), told
        assert any("quota" in name for name in told), told
        assert "quota" in lab(*LAUNCH).error
        for code in QUOTAS:
            market.set_quota(lab_aws.region, code, 64)  # AWS said yes
        refused = lab(*LAUNCH)
        assert refused.code != 0
        assert "checking" in refused.error
        clock.sleep(601)
        assert "free plan" in lab(*LAUNCH).error
        freetier: Any = lab_aws.client("freetier", region="us-east-1")
        freetier.upgrade_account_plan(accountPlanType="PAID")
        SWITCH.turn_off("e-mail-unconfirmed")  # somebody followed the link
        clock.sleep(86400)
        ce: Any = lab_aws.client("ce", region="us-east-1")
        keys = ("Project", "Lab", "Run")
        answer = ce.update_cost_allocation_tags_status(CostAllocationTagsStatus=[{"TagKey": key, "Status": "Active"} for key in keys])
        assert answer["Errors"] == []
        left = failed(lab)
        assert not {"account plan", "e-mail", "cost tags"} & set(left), left
        assert not any("quota" in name and "P" not in name for name in left), left
        for market_option in ("--on-demand", "--spot"):
            result = lab(*LAUNCH, market_option)
            assert result.code == 0, result.err


def test_what_the_mode_is_made_of() -> None:
    assert {rule.name for rule in ROWS if rule.on is On.NEW_ACCOUNT} == {
        "account-being-verified", "free-plan", "spot-role-unseen", "quotas-of-a-new-account", "e-mail-unconfirmed",
        "cost-tags-not-listed-yet", "cost-tags-not-known-yet",
    }  # fmt: skip
