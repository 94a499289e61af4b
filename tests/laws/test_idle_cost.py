"""A bootstrapped lab without data costs next to nothing, and no kind of thing in it is forgotten in the sum."""

from datetime import UTC, datetime

import pytest

from llmlab.aws import idle_cost, leftovers, rates
from llmlab.aws.owned import Leftover
from llmlab.ops import bootstrap
from llmlab.ops.doctor import Health, doctor
from llmlab.stack import RESOURCES
from tests.laws.conftest import Lab

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CEILING = 1.0
"""US dollars a month."""


def test_a_lab_without_data_costs_less_than_a_dollar(either: tuple[Lab, int]) -> None:
    lab, _ = either
    lab.apply()
    lab.calls.clear()
    found = idle_cost.read(lab.aws, RESOURCES, NOW)
    assert not lab.writes()
    assert len(found.items) == len(leftovers.find(lab.aws, RESOURCES))
    assert 0 < found.monthly < CEILING
    (function,) = [one for one in found.items if one.kind == "function"]
    assert function.monthly == pytest.approx(2 * 730 * 0.005 / 1000)  # the sweep's listings: of all it uses, S3 has no free requests


@pytest.mark.slow
def test_what_it_costs_where_the_free_tier_is_used_up(lab: Lab) -> None:
    """The dashboard is what is worth naming, and it can be left out; else the function that is called every minute, and the alarms."""
    lab.apply()
    found = idle_cost.read(lab.aws, RESOURCES, NOW)
    dear = {one.kind: one.without_free_tier for one in found.items if one.without_free_tier > 0.1}
    assert dear == {"dashboard": 3.0, "function": pytest.approx(0.24, abs=0.01)}
    alarms = 0.10 * sum(one.kind == "alarm" for one in found.items)
    assert alarms >= 0.40
    assert alarms <= sum(one.without_free_tier for one in found.items if one.kind not in dear) < CEILING
    assert f"dashboard $3.00, alarm ${alarms:.2f}, function $0.24" in idle_cost.words(found)


def test_the_free_tier_is_used_up_once() -> None:
    alarms = [(Leftover("alarm", str(index)), [(1.0, rates.ALARM)]) for index in range(12)]
    assert idle_cost.price(alarms).monthly == pytest.approx(0.2)
    assert idle_cost.price(alarms).without_free_tier == pytest.approx(1.2)


def test_what_is_stored_costs_by_its_size(lab: Lab) -> None:
    lab.apply()
    before = idle_cost.read(lab.aws, RESOURCES, NOW)
    lab.aws.client("secretsmanager").create_secret(
        Name=lab.aws.names.secret("hf-token"),
        SecretString="x",
        Tags=[{"Key": key, "Value": text} for key, text in lab.aws.names.tags.items()],
    )
    lab.aws.s3.put_object(Bucket=lab.aws.names.outputs_bucket, Key="runs/x", Body=b"0" * 5_000_000)
    after = idle_cost.read(lab.aws, RESOURCES, datetime.now(UTC))  # noqa: TID251 - moto measures buckets by its own clock
    assert after.monthly - before.monthly == pytest.approx(0.40 + 0.005 * 0.023, rel=0.01)


@pytest.mark.slow  # two bootstraps
def test_a_dashboard_that_is_not_free_is_told_and_can_be_left_out(lab: Lab) -> None:
    """AWS gives an account three for nothing: with three others, ours is paid for."""
    for name in ("one", "two", "three"):
        lab.aws.client("cloudwatch").put_dashboard(DashboardName=name, DashboardBody='{"widgets": []}')
    lab.apply()
    assert 3.0 < idle_cost.read(lab.aws, RESOURCES, NOW).monthly < 3.0 + CEILING
    (check,) = [one for one in doctor(lab.settings, lab.aws, lab.clock).checks if one.name == "idle cost"]
    assert (check.health, check.hint) == (Health.WARNING, "LLMLAB_DASHBOARD=false llmlab bootstrap")
    lab.settings = lab.settings.model_copy(update={"dashboard": False})
    bootstrap.apply(lab.plan(), lab.settings, lab.aws, lab.clock)
    assert lab.plan().empty
    names = [one["DashboardName"] for one in lab.aws.client("cloudwatch").list_dashboards()["DashboardEntries"]]
    assert sorted(names) == ["one", "three", "two"]
    left = idle_cost.read(lab.aws, RESOURCES, NOW)
    assert left.monthly < CEILING
    assert left.without_free_tier < CEILING
