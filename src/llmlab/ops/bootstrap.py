"""Create or update the lab: make its plan, preview it and apply it; and a short summary of the lab."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmlab import stack
from llmlab.aws.budget import HOME
from llmlab.aws.session import Aws, Denied, NotFound
from llmlab.aws.sns_topic import Subscription, Topic
from llmlab.clock import Clock
from llmlab.config import Settings
from llmlab.infra.apply import apply as apply_plan
from llmlab.infra.plan import Action, Plan, Step, plan


@dataclass(frozen=True)
class Property:
    """One property that would change. For a policy the path leads to the part that differs: `policy.ReadData.Action`."""

    path: str
    now: Any
    wanted: Any


@dataclass(frozen=True)
class Change:
    """The change that a plan makes to one resource."""

    kind: str
    name: str
    action: Action
    properties: tuple[Property, ...]


@dataclass(frozen=True)
class Preview:
    """A plan as facts. `kept` counts the resources that are as they should be."""

    lab: str
    account: str
    region: str
    changes: tuple[Change, ...]
    kept: int


@dataclass(frozen=True)
class Bootstrapped:
    """The lab as it stands after bootstrap."""

    lab: str
    account: str
    region: str
    created: int
    updated: int
    kept: int
    deleted: int
    data_bucket: str
    outputs_bucket: str
    repository: str
    github_role: str | None
    email: str | None
    email_confirmed: bool
    dashboard: str | None


def make_plan(settings: Settings, aws: Aws, clock: Clock, progress: Callable[[int, int], None] = lambda _done, _total: None) -> Plan:
    """Plan the lab's resources by reading each of them. `progress` is called with (resources read, all resources).

    Raises:
        NotOwned: a resource of another owner has one of our names.
        Refused: an existing network cannot be used.
    """
    resources = stack.build(settings, aws, clock)
    seen: list[Step] = []

    def on_step(step: Step) -> None:
        seen.append(step)
        progress(len(seen), len(resources))

    return plan(resources, on_step, unwanted=stack.unwanted(settings, aws, clock))


def preview(planned: Plan, aws: Aws) -> Preview:
    """The changes that applying the plan would make, property by property."""
    changes = tuple(Change(step.resource.kind, step.resource.name, step.action, tuple(_properties(step))) for step in planned.changes)
    kept = sum(step.action is Action.KEEP for step in planned.steps)
    return Preview(aws.lab, aws.account, aws.region, changes, kept)


def _properties(step: Step) -> list[Property]:
    if step.action is Action.CREATE:
        return [Property(difference.property, None, difference.wanted) for difference in step.differences]
    return [leaf for difference in step.differences for leaf in leaves(difference.property, difference.now, difference.wanted)]


def leaves(path: str, now: Any, wanted: Any) -> list[Property]:
    """The properties in which two values differ, as deep as both have the same shape. Policy statements are matched by their Sid."""
    now, wanted = _by_sid(now), _by_sid(wanted)
    if not (isinstance(now, Mapping) and isinstance(wanted, Mapping)):
        return [] if now == wanted else [Property(path, now, wanted)]
    keys = [*wanted, *(key for key in now if key not in wanted)]
    return [leaf for key in keys for leaf in leaves(f"{path}.{key}", now.get(key), wanted.get(key))]


def _by_sid(value: Any) -> Any:
    if isinstance(value, list) and value and all(isinstance(statement, Mapping) and "Sid" in statement for statement in value):
        return {statement["Sid"]: {key: item for key, item in statement.items() if key != "Sid"} for statement in value}
    return value


def apply(planned: Plan, settings: Settings, aws: Aws, clock: Clock, progress: Callable[[Step], None] = lambda _step: None) -> Bootstrapped:
    """Apply the plan to the account. `progress` is called for each change, when it is done, from any thread."""
    apply_plan(planned, progress)
    created = sum(step.action is Action.CREATE for step in planned.steps)
    updated = sum(step.action is Action.UPDATE for step in planned.steps)
    names = aws.names
    topic = Topic(aws=aws, clock=clock)
    confirmed = bool(settings.email) and Subscription(topic=topic, email=settings.email or "", aws=aws, clock=clock).confirmed
    return Bootstrapped(
        lab=aws.lab,
        account=aws.account,
        region=aws.region,
        created=created,
        updated=updated,
        kept=len(planned.steps) - created - updated,
        deleted=len(planned.removals),
        data_bucket=names.data_bucket,
        outputs_bucket=names.outputs_bucket,
        repository=f"{names.registry}/{names.repository}",
        github_role=names.role_arn(names.github_role) if settings.github else None,
        email=settings.email,
        email_confirmed=confirmed,
        dashboard=_dashboard_page(aws) if settings.dashboard else None,
    )


def _dashboard_page(aws: Aws) -> str:
    console = f"https://{aws.region}.console.aws.amazon.com/cloudwatch/home?region={aws.region}"
    return f"{console}#dashboards/dashboard/{aws.names.dashboard}"


# ---------------------------------------------------------------- settings kept in `llmlab.toml`


def remember(path: Path, values: Mapping[str, Any]) -> bool:
    """Write settings into `llmlab.toml`, so that the next command without flags sees the same lab. Returns whether anything changed.

    Only the lines of these keys are touched; comments stay. A key that is there as a comment takes the comment's place.
    """
    from llmlab.ops.init import toml

    text = path.read_text(encoding="utf-8") if path.exists() else "# Settings of this lab; `llmlab config` shows what holds.\n"
    lines = text.splitlines()
    for key, value in values.items():
        wanted = f"{key} = {toml(value)}"
        places = [number for number, line in enumerate(lines) if _sets(line, key)]
        places = places or [number for number, line in enumerate(lines) if _sets(line.removeprefix("#").lstrip(), key)]
        if places:
            lines[places[0]] = wanted
        else:
            lines.append(wanted)
    changed = "\n".join(lines) + "\n"
    if changed == text:
        return False
    path.write_text(changed, encoding="utf-8")
    return True


def _sets(line: str, key: str) -> bool:
    return line.split("=", maxsplit=1)[0].strip() == key and "=" in line


# ---------------------------------------------------------------- the summary


@dataclass(frozen=True)
class LabSummary:
    """The lab's state in short. `watchdog` is the function's state; money in US dollars this month; None is what AWS does not tell."""

    lab: str
    region: str
    bootstrapped: bool
    watchdog: str | None
    template_version: int | None
    budget: float | None
    spent: float | None


def summary(aws: Aws) -> LabSummary:
    """The lab's summary by three calls to AWS at once. What may not be read, or does not exist, is None."""
    names = aws.names
    with ThreadPoolExecutor(3) as pool:
        function = pool.submit(_or_none, lambda: aws.client("lambda").get_function_configuration(FunctionName=names.watchdog))
        template = pool.submit(_or_none, lambda: aws.ec2.describe_launch_templates(LaunchTemplateNames=[names.launch_template]))
        budget = pool.submit(
            _or_none, lambda: aws.client("budgets", region=HOME).describe_budget(AccountId=aws.account, BudgetName=names.budget)
        )
    watchdog, versions, money = function.result(), template.result(), (budget.result() or {}).get("Budget", {})
    limit, spent = money.get("BudgetLimit", {}).get("Amount"), money.get("CalculatedSpend", {}).get("ActualSpend", {}).get("Amount")
    return LabSummary(
        lab=aws.lab,
        region=aws.region,
        bootstrapped=watchdog is not None and versions is not None,
        watchdog=watchdog.get("State", "Active") if watchdog else None,
        template_version=versions["LaunchTemplates"][0]["DefaultVersionNumber"] if versions else None,
        budget=float(limit) if limit is not None else None,
        spent=float(spent) if spent is not None else None,
    )


def _or_none(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (NotFound, Denied):
        return None
