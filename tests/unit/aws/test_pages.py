"""What AWS lists in pages is read to its end, and what it has not done although it answers 200 is told."""

import ast
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

import llmlab
from llmlab.aws import costs, permissions
from llmlab.aws.event_rule import MOST_REMOVED, SPOT_INTERRUPTION, Ec2Events, EventRule
from llmlab.aws.role import Role
from llmlab.aws.session import AwsError
from llmlab.contract import Names, Tag
from tests.simulation.callers import SimulatedAws

NAMES = Names("lab", "123456789012", "us-east-1")
SOURCE = Path(llmlab.__file__).parent


class Paged:
    """An AWS that answers each operation with its pages, one after another, and anything else with nothing. `calls` are those made."""

    def __init__(self, token: str = "NextToken", **pages: Sequence[Mapping[str, Any]]) -> None:
        self.token, self.pages = token, pages
        self.calls: list[tuple[str, Mapping[str, Any]]] = []

    def call(self, _service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        self.calls.append((method, parameters))
        number = int(parameters.get(self.token, 0))
        pages = self.pages.get(method, [{}])
        more = {self.token: str(number + 1)} if number + 1 < len(pages) else {}
        return {**pages[number], **more}

    def values(self, method: str, parameter: str) -> list[Any]:
        return [parameters[parameter] for name, parameters in self.calls if name == method]


def aws(account: Paged) -> SimulatedAws:
    return SimulatedAws(NAMES, account)  # type: ignore[arg-type]


def rule(account: Paged) -> Ec2Events:
    return Ec2Events(aws=aws(account), suffix="ended", pattern=SPOT_INTERRUPTION, function=None)  # type: ignore[arg-type]


def test_a_role_loses_every_policy_before_it_goes() -> None:
    account = Paged(
        list_role_policies=[{"PolicyNames": ["llmlab"]}, {"PolicyNames": []}, {"PolicyNames": ["mine"]}],
        list_attached_role_policies=[{"AttachedPolicies": []}, {"AttachedPolicies": [{"PolicyArn": "arn:theirs"}]}],
    )
    Role(aws=aws(account), role_name="lab-role", trust={}, policy={}).delete()
    assert sorted(account.values("delete_role_policy", "PolicyName")) == ["llmlab", "mine"]
    assert account.values("detach_role_policy", "PolicyArn") == ["arn:theirs"]
    assert account.calls[-1][0] == "delete_role"


def test_a_rule_loses_every_target_before_it_goes() -> None:
    targets = [{"Id": str(number), "Arn": "a"} for number in range(MOST_REMOVED + 5)]
    account = Paged(list_targets_by_rule=[{"Targets": targets[:60]}, {"Targets": targets[60:]}])
    rule(account).delete()
    removed = account.values("remove_targets", "Ids")
    assert [target for some in removed for target in some] == [target["Id"] for target in targets]
    assert max(map(len, removed)) <= MOST_REMOVED
    assert account.calls[-1][0] == "delete_rule"


def test_a_target_that_stays_is_told_and_keeps_its_rule() -> None:
    failure = {"TargetId": "watchdog", "ErrorCode": "ConcurrentModificationException", "ErrorMessage": "it is being changed"}
    account = Paged(
        list_targets_by_rule=[{"Targets": [{"Id": "watchdog", "Arn": "a"}]}],
        remove_targets=[{"FailedEntryCount": 1, "FailedEntries": [failure]}],
    )
    with pytest.raises(AwsError, match="did not give up its target watchdog: it is being changed") as error:
        rule(account).delete()
    assert error.value.code == "ConcurrentModificationException"
    assert "delete_rule" not in [name for name, _ in account.calls]


def test_a_rule_of_ours_behind_a_hundred_others_is_left_over() -> None:
    others = [{"Name": f"lab-{number}", "Arn": f"arn:{number}"} for number in range(100)]
    tags = [{"Key": key, "Value": value} for key, value in NAMES.tags.items()]
    account = Paged(list_rules=[{"Rules": others}, {"Rules": [{"Name": "lab-ended", "Arn": "arn:ended"}]}])
    ours = {"Tags": tags}

    def call(service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        if method == "list_tags_for_resource":
            return ours if parameters["ResourceARN"] == "arn:ended" else {"Tags": []}
        return Paged.call(account, service, method, parameters)

    account.call = call  # type: ignore[method-assign]
    assert [one.id for one in EventRule.find_leftovers(aws(account))] == ["lab-ended"]


def test_an_action_that_is_denied_on_the_second_page_is_denied() -> None:
    def result(action: str, decision: str) -> dict[str, str]:
        return {"EvalActionName": action, "EvalDecision": decision}

    account = Paged(
        get_caller_identity=[{"Arn": "arn:aws:iam::123456789012:user/me"}],
        simulate_principal_policy=[
            {"EvaluationResults": [result("ec2:CreateVpc", "allowed")]},
            {"EvaluationResults": [result("ec2:DeleteVpc", "implicitDeny")]},
        ],
    )
    assert set(permissions.denied_actions(aws(account)) or ()) == {"ec2:DeleteVpc"}


def test_costs_of_many_runs_come_in_pages() -> None:
    """A day whose groups do not fit one page is continued on the next."""

    def page(day: str, **runs: float) -> dict[str, Any]:
        groups = [{"Keys": [f"Run${run}"], "Metrics": {"UnblendedCost": {"Amount": str(dollars)}}} for run, dollars in runs.items()]
        return {"ResultsByTime": [{"TimePeriod": {"Start": day, "End": day}, "Groups": groups}]}

    pages = [page("2026-11-01", a=1.0, b=2.0), page("2026-11-01", c=4.0), page("2026-11-02", a=8.0)]
    account = Paged("NextPageToken", get_cost_and_usage=pages)
    active = frozenset({Tag.PROJECT, Tag.RUN})
    assert costs.by_day(aws(account), date(2026, 11, 1), date(2026, 11, 3), active) == {
        date(2026, 11, 1): {"a": 1.0, "b": 2.0, "c": 4.0}, date(2026, 11, 2): {"a": 8.0},
    }  # fmt: skip
    assert sum(costs.by_service(aws(account), date(2026, 11, 1), date(2026, 11, 2), active).values()) == 15.0
    assert {str(asked["Filter"]) for _, asked in account.calls[:3]} == {str(account.calls[0][1]["Filter"])}


# ---------------------------------------------------------------- nobody reads one page

SERVICES = (
    "budgets", "ce", "cloudwatch", "ec2", "ecr", "events", "iam", "lambda", "logs", "pricing", "s3", "scheduler", "secretsmanager",
    "service-quotas", "sns", "ssm",
)  # fmt: skip
BY_NAME = "asked for by name or id, so that there is one, or as many as were named"
TAGGED = "of EC2, which answers all that match unless a page's size is given; filtered by the lab's own tags or name there is one, or a few"
FIRST = "any will do"
WHOLE: Mapping[tuple[str, str], str] = {
    ("aws/account_settings.py", "describe_alarms"): BY_NAME,
    ("aws/cloudwatch_alarm.py", "describe_alarms"): BY_NAME,
    ("aws/budget.py", "describe_notifications_for_budget"): "a budget has ten at most, a page a hundred",
    ("aws/budget.py", "describe_subscribers_for_notification"): "a notification has eleven at most, a page a hundred",
    ("aws/costs.py", "get_cost_and_usage"): "boto3 has no paginator for it: its tokens are followed there",
    ("aws/costs.py", "list_cost_allocation_tags"): BY_NAME,
    ("aws/existing_network.py", "describe_subnets"): BY_NAME,
    ("aws/existing_network.py", "describe_vpcs"): BY_NAME,
    ("aws/ecr_images.py", "describe_images"): BY_NAME,
    ("aws/internet_gateway.py", "describe_internet_gateways"): TAGGED,
    ("aws/launch_template.py", "describe_launch_template_versions"): BY_NAME,
    ("aws/launch_template.py", "describe_launch_templates"): BY_NAME,
    ("aws/subnets_by_zone.py", "describe_launch_templates"): BY_NAME,
    ("aws/log_group.py", "describe_log_groups"): "in the order of names, so that the one which is all of the prefix comes first",
    ("aws/network_guests.py", "describe_network_interfaces"): FIRST,
    ("aws/network_guests.py", "describe_security_groups"): "of EC2, which answers all that match unless a page's size is given",
    ("aws/network_guests.py", "describe_subnets"): FIRST,
    ("aws/network_guests.py", "describe_vpc_endpoints"): "of EC2, which answers all that match unless a page's size is given",
    ("aws/ecr_repository.py", "describe_repositories"): BY_NAME,
    ("aws/retired.py", "describe_notifications_for_budget"): "a budget has ten at most, a page a hundred",
    ("aws/retired.py", "describe_subscribers_for_notification"): "a notification has eleven at most, a page a hundred",
    ("aws/route_table.py", "describe_route_tables"): TAGGED,
    ("aws/s3_endpoint.py", "describe_vpc_endpoints"): TAGGED,
    ("aws/security_group.py", "describe_security_groups"): TAGGED,
    ("aws/leftovers.py", "describe_snapshots"): BY_NAME,
    ("aws/leftovers.py", "describe_volumes"): BY_NAME,
    ("aws/subnets.py", "describe_subnets"): TAGGED,
    ("aws/vpc.py", "describe_vpcs"): TAGGED,
    ("ops/bootstrap.py", "describe_launch_templates"): BY_NAME,
    ("ops/image.py", "describe_repositories"): BY_NAME,
}
"""Calls that take the first page for all there is, by file and operation, and why that is so."""
TOKENS = {"nexttoken", "nextpagetoken", "marker", "nextmarker", "nextcontinuationtoken", "continuationtoken"}


def paged_operations() -> set[str]:
    """boto3's names of everything that may answer in pages, whether it has a paginator for it or not."""
    session = botocore.session.get_session()
    models = [session.get_service_model(service) for service in SERVICES]
    return {
        xform_name(name)
        for model in models
        for name in model.operation_names
        if (answer := model.operation_model(name).output_shape) and TOKENS & {member.lower() for member in answer.members}
    }


def test_no_first_page_is_taken_for_the_whole_but_where_it_is() -> None:
    """Costs a second: the models of sixteen services are read."""
    paged = paged_operations()
    assert {"list_objects_v2", "describe_instances", "get_cost_and_usage", "list_role_policies"} <= paged
    found = {
        (path.relative_to(SOURCE).as_posix(), node.attr)
        for layer in ("aws", "agent", "lifecycle", "ops", "watchdog")
        for path in sorted((SOURCE / layer).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in paged
    }
    assert len(found) > 20
    assert found - WHOLE.keys() == set(), "read all pages (aws/pages.py), or say in WHOLE why there is one"
    assert WHOLE.keys() - found == set(), "no longer in the source"
