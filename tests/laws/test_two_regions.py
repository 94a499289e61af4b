"""Two labs of one name in two regions share nothing; and what an earlier version made goes once what stands in its place is there."""

import json
from typing import Any

import pytest

from llmlab import stack
from llmlab.aws.budget import HOME, _notification
from llmlab.aws.dashboard import body
from llmlab.aws.owned import to_list
from llmlab.aws.session import Aws
from llmlab.errors import LabError
from llmlab.infra.apply import apply
from llmlab.infra.destroy import destroy
from llmlab.infra.plan import Plan, plan
from tests.laws.conftest import Lab
from tests.laws.refusing import refusing

KINDS = ("role", "log group", "outputs bucket", "alert topic", "budget", "dashboard", "schedule group")
OTHER = "eu-west-1"


def some(lab: Lab) -> Plan:
    """Of the kinds that this is about."""
    wanted = [one for one in lab.stack() if one.kind in KINDS and "github" not in one.name]
    return plan(wanted, unwanted=stack.unwanted(lab.settings, lab.aws, lab.clock))


def budgets(lab: Lab) -> list[str]:
    return sorted(
        one["BudgetName"] for one in lab.aws.client("budgets", region=HOME).describe_budgets(AccountId=lab.aws.account)["Budgets"]
    )


def dashboards(lab: Lab) -> list[str]:
    return sorted(one["DashboardName"] for one in lab.aws.client("cloudwatch").list_dashboards()["DashboardEntries"])


@pytest.fixture
def other(lab: Lab) -> Lab:
    return Lab(Aws(OTHER, lab=lab.aws.lab), lab.settings.model_copy(update={"budget": 70.0}), lab.clock, lab.calls)


def test_neither_changes_or_deletes_what_the_other_has(lab: Lab, other: Lab) -> None:
    apply(some(lab))
    planned = some(other)
    assert {step.action.value for step in planned.changes} == {"create"}
    apply(planned)
    assert some(lab).empty
    assert budgets(lab) == ["llm-tuning-lab-eu-west-1-monthly", "llm-tuning-lab-us-east-1-monthly"]
    assert dashboards(lab) == dashboards(other) == ["llm-tuning-lab-eu-west-1", "llm-tuning-lab-us-east-1"]
    destroy([step.resource for step in some(other).steps], everything=True)
    assert some(lab).empty


def make_old(lab: Lab, *told: Lab) -> None:
    """The budget, the dashboard and the sweep as they were: without a region in their names, and a schedule."""
    names, client = lab.aws.names, lab.aws.client("budgets", region=HOME)
    limit = {
        "BudgetName": f"{names.lab}-monthly",
        "BudgetType": "COST",
        "TimeUnit": "MONTHLY",
        "BudgetLimit": {"Amount": "50", "Unit": "USD"},
    }
    client.create_budget(AccountId=names.account, Budget=limit, ResourceTags=to_list(names.tags))
    listeners = [{"SubscriptionType": "SNS", "Address": one.aws.names.arn("sns", names.topic)} for one in told]
    for percent in (80, 100):
        which = {"AccountId": names.account, "BudgetName": f"{names.lab}-monthly", "Notification": _notification(percent)}
        client.create_notification(**which, Subscribers=listeners[:1])
        for one in listeners[1:]:
            client.create_subscriber(**which, Subscriber=one)
    lab.aws.client("cloudwatch").put_dashboard(DashboardName=names.lab, DashboardBody=json.dumps(body(names)))
    scheduler: Any = lab.aws.client("scheduler")
    scheduler.create_schedule(
        GroupName=names.schedule_group, Name=f"{names.lab}-sweep", ScheduleExpression="rate(1 hour)", FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": names.arn("lambda", f"function:{names.watchdog}"), "RoleArn": names.role_arn(names.scheduler_role)},
    )  # fmt: skip


OLD = ["schedule llm-tuning-lab-sweep", "budget llm-tuning-lab-monthly", "dashboard llm-tuning-lab"]


def test_the_plan_of_an_old_lab_shows_what_goes_and_then_it_does(lab: Lab) -> None:
    apply(some(lab))
    make_old(lab, lab)
    planned = some(lab)
    assert [step.resource.key for step in planned.changes] == OLD
    assert {step.action.value for step in planned.changes} == {"delete"}
    apply(planned)
    assert some(lab).empty
    assert budgets(lab) == ["llm-tuning-lab-us-east-1-monthly"]
    assert dashboards(lab) == ["llm-tuning-lab-us-east-1"]
    assert lab.aws.client("scheduler").list_schedules()["Schedules"] == []


def test_the_old_budget_stays_until_the_new_one_stands(lab: Lab) -> None:
    apply(some(lab))
    make_old(lab, lab)
    client = lab.aws.client("budgets", region=HOME)
    client.delete_budget(AccountId=lab.aws.account, BudgetName=lab.aws.names.budget)
    with refusing(lab.aws, "budgets", "CreateBudget", "InternalErrorException", "try again", region=HOME), pytest.raises(LabError):
        apply(some(lab))
    assert budgets(lab) == ["llm-tuning-lab-monthly"]
    apply(some(lab))
    assert budgets(lab) == ["llm-tuning-lab-us-east-1-monthly"]


@pytest.mark.slow
def test_the_old_budget_stays_while_another_region_uses_it(lab: Lab, other: Lab) -> None:
    """Only our alerts end; the last region deletes it, by bootstrap or by teardown."""
    apply(some(lab))
    apply(some(other))
    make_old(lab, lab, other)
    (budget,) = [step for step in some(lab).changes if step.resource.kind == "budget"]
    assert [(one.now, one.wanted) for one in budget.differences] == [(["eu-west-1", "us-east-1"], ["eu-west-1"])]
    apply(some(lab))
    assert some(lab).empty
    assert "llm-tuning-lab-monthly" in budgets(lab)
    destroy(stack.all_of(lab.settings, lab.aws, lab.clock), everything=True)
    assert "llm-tuning-lab-monthly" in budgets(lab)
    destroy(stack.all_of(other.settings, other.aws, other.clock), everything=True)
    assert budgets(lab) == []
