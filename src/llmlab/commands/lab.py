"""The lab itself: bootstrap, doctor, teardown."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmlab.commands import completing, operator_policy
from llmlab.commands.context import CliContext
from llmlab.errors import ExitCode, LabError, Refused, UsageError
from llmlab.ui import CommandLine, Hanging, Ui, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llmlab.aws.owned import Leftover
    from llmlab.ops.bootstrap import Bootstrapped, Preview
    from llmlab.ops.doctor import Checkup
    from llmlab.ops.run_status import Run
    from llmlab.ops.teardown import TornDown


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
    app.command()(bootstrap)
    app.command()(doctor)
    app.command()(teardown)


def bootstrap(
    ctx: typer.Context,
    lab: Annotated[str | None, typer.Option(help="Name of the lab.")] = None,
    email: Annotated[str | None, typer.Option(help="Where alerts and the budget write to.")] = None,
    budget: Annotated[float | None, typer.Option(help="Monthly budget in US dollars: an alarm, not a cap.")] = None,
    github: Annotated[str | None, typer.Option(help="OWNER/REPOSITORY whose workflow may push the image.")] = None,
    github_ids: Annotated[str | None, typer.Option(help="OWNER-ID/REPOSITORY-ID, for repositories made since July 2026.")] = None,
    vpc_id: Annotated[str | None, typer.Option(help="An existing VPC to use instead of an own one.")] = None,
    subnet_id: Annotated[list[str] | None, typer.Option(help="One of its subnets; again for each zone.")] = None,
    permissions_boundary: Annotated[str | None, typer.Option(help="ARN of a policy that bounds every role we make.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only print what would change; exit 3 when something would.")] = False,
    print_operator_policy: Annotated[
        bool, typer.Option("--print-operator-policy", help="Only print, as JSON, the policies that whoever runs llmlab needs.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Make the lab, or bring it back to what it should be. Shows the plan, asks, applies.

    What is given here, or by a variable, is remembered in llmlab.toml, so that the next command sees the same lab.
    """
    from llmlab.ops import bootstrap as lab_maker

    cli: CliContext = ctx.obj
    options = {
        "lab": lab, "email": email, "budget": budget, "github": github, "github_ids": github_ids,
        "vpc_id": vpc_id, "subnet_ids": ",".join(subnet_id) if subnet_id else None, "permissions_boundary": permissions_boundary,
    }  # fmt: skip
    values = {key: value for key, value in options.items() if value is not None}
    cli.flags |= {key: str(value) for key, value in values.items()}
    settings = cli.settings
    if print_operator_policy:
        operator_policy.show(cli)
        return
    if bool(settings.vpc_id) != bool(settings.subnet_ids):
        raise UsageError("an existing network needs --vpc-id and at least one --subnet-id", "aws ec2 describe-subnets")
    with cli.ui.bar("reading", "resources") as progress:
        planned = lab_maker.make_plan(settings, cli.aws, cli.clock, progress)
    facts = lab_maker.preview(planned, cli.aws)
    if plan:
        brief = _is_new(facts) and not cli.ui.verbosity
        cli.ui.show(facts, lambda: preview_view(facts, properties=not brief))
        if not planned.empty and not cli.ui.as_json:
            if brief:
                cli.ui.say("-v shows the properties of each")
            cli.ui.suggest(cli.ui.laid_over("llmlab bootstrap", without=["--plan"]))
        raise typer.Exit(ExitCode.DONE if planned.empty else ExitCode.PLAN_NOT_EMPTY)
    if not planned.empty:
        _show_plan(cli.ui, facts)
        cli.ui.confirm(f"apply to account {facts.account}, {facts.region}?", yes=yes)
    remembered = {key: getattr(settings, key) for key in [*values, *from_the_environment(cli)]}
    path = cli.file or Path(cli.environment.get("LLMLAB_CONFIG") or "llmlab.toml")
    if remembered and lab_maker.remember(path, remembered):  # before anything can fail: the next try is to make the same lab
        cli.ui.say(f"{path}: {', '.join(remembered)} remembered")
    with cli.ui.bar("applying", "changes") as progress:
        done = _Counter(cli.ui, len(planned.changes), progress)
        bootstrapped = lab_maker.apply(planned, settings, cli.aws, cli.clock, done)
    cli.ui.show(bootstrapped, lambda: bootstrapped_view(bootstrapped))
    if bootstrapped.email and not bootstrapped.email_confirmed:
        cli.ui.say(f"confirm the mail that AWS sent to {bootstrapped.email}, or no alarm will reach you")
    cli.ui.suggest("llmlab doctor")


NOT_THE_LABS = frozenset({"lab", "profile", "region", "training_network"})
"""Settings that select the lab or concern its runs, and change none of its resources: bootstrap does not remember them from variables."""


def from_the_environment(cli: CliContext) -> list[str]:
    """Settings of the lab's resources that came from variables: if not remembered, the next bootstrap would revert them."""
    from llmlab.config import VARIABLES

    return [key for key, origin in cli.loaded.origins.items() if origin in VARIABLES and key not in NOT_THE_LABS]


class _Counter:
    """Moves the progress bar; without a terminal prints a line for each change."""

    def __init__(self, ui: Ui, total: int, progress: Any) -> None:
        self.ui, self.total, self.progress, self.done = ui, total, progress, 0

    def __call__(self, step: Any) -> None:
        self.done += 1
        self.progress(self.done, self.total)
        if not self.ui.stderr.isatty():
            self.ui.say(f"{step.resource.key}: {step.action}d")


def _show_plan(ui: Ui, facts: "Preview") -> None:
    """Show the plan on stderr before the question, as stdout is for the result."""
    if not ui.as_json:
        compact = not ui.verbosity and _is_new(facts)
        for part in preview_view(facts, compact=compact, properties=not compact):
            ui.tell(part)


def _is_new(facts: "Preview") -> bool:
    """Whether a plan only creates resources."""
    return all(change.action == "create" for change in facts.changes)


SYMBOLS = {"create": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red")}
LONGEST = 200
FEW = 10
"""Up to how many resources are listed one by one without `-v`."""


def preview_view(facts: "Preview", *, compact: bool = False, properties: bool = True) -> Iterable["RenderableType"]:
    """The plan of a bootstrap: a line for each resource; many new ones as a line for each kind, or `compact` as one paragraph.

    With `properties` each resource's properties are listed below it, for a changed one with the old and the new value.
    """
    from rich.text import Text

    yield Text(f"lab {facts.lab}, account {facts.account}, {facts.region}")
    here = re.compile(rf"arn:[\w-]+:[\w-]+:({facts.region})?:{facts.account}:")
    created = [change for change in facts.changes if change.action == "create"]
    updated = [change for change in facts.changes if change.action == "update"]
    deleted = [change for change in facts.changes if change.action == "delete"]
    together = len(created) > FEW and (compact or not properties)
    kinds = Counter(change.kind for change in created) if together else {}
    if kinds and compact:
        names = ", ".join(kind if number == 1 else f"{number} x {kind}" for kind, number in kinds.items())
        yield Hanging("+ ", names, lead_style="green")
    for kind in () if compact else kinds:
        names = ", ".join(change.name for change in created if change.kind == kind)
        yield Hanging(f"+ {kind} ", names, "bold", "green")
    for change in [*(() if together else created), *updated, *deleted]:
        symbol, style = SYMBOLS[change.action]
        yield Text.assemble((f"{symbol} {change.kind} ", style), (change.name, "bold"))
        for difference in change.properties if properties else ():
            wanted = in_words(difference.wanted, here)
            words = wanted if change.action == "create" else f"{in_words(difference.now, here)} → {wanted}"
            yield Hanging(f"    {difference.path}: ", words)
    if facts.changes:
        going = f"{len(deleted)} to delete, " if deleted else ""
        yield Text(f"{len(created)} to create, {len(updated)} to change, {going}{facts.kept} as they should be")
    else:
        yield Text(f"nothing to do: all {facts.kept} resources are as they should be")


def in_words(value: Any, here: re.Pattern[str] | None = None) -> str:
    """A property's value in at most `LONGEST` characters, documents summarised.

    `here` matches the beginning of ARNs of this account and region, which is left out: the plan's first line shows it.
    """
    text = here.sub("", _in_words(value)) if here else _in_words(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _in_words(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, dict) and "Statement" in value:
        return _statements_in_words(value["Statement"])
    if _is_statement(value):
        return f"{value.get('Effect', 'statement').lower()}: {value['Sid']}"
    if isinstance(value, dict) and list(value) == ["rules"]:
        return ", ".join(str(rule.get("description") or counted(1, "rule")) for rule in value["rules"])
    if isinstance(value, dict):
        return _mapping_in_words(value)
    if isinstance(value, list):
        return ", ".join(map(_item_in_words, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _item_in_words(item: Any) -> str:
    """An element of a list: its text, a dashboard widget's title, its type, or its keys."""
    if not isinstance(item, dict):
        return str(item)
    return str(item.get("properties", {}).get("title") or item.get("type") or ", ".join(item))


def _mapping_in_words(value: dict[str, Any]) -> str:
    """A mapping in words: keys with the same value are grouped, policy statements show their Sid."""
    if not any(isinstance(item, dict | list) for item in value.values()):
        return ", ".join(f"{key}={_in_words(item)}" for key, item in value.items())
    keys: dict[str, list[str]] = {}
    for key, item in value.items():
        keys.setdefault(_in_words(item), []).append(key)
    return "; ".join(words if _is_statement(value[same[0]]) else f"{', '.join(same)}: {words}" for words, same in keys.items())


def _is_statement(value: Any) -> bool:
    return isinstance(value, dict) and "Sid" in value


def _statements_in_words(statements: list[dict[str, Any]]) -> str:
    """A policy by the Sids of its statements; a trust policy, whose statement has none, by its principals."""
    if all("Sid" in statement for statement in statements):
        return ", ".join(statement["Sid"] for statement in statements)
    principals = [", ".join(map(str, statement["Principal"].values())) for statement in statements]
    return "; ".join(f"{statement['Action']} by {who}" for statement, who in zip(statements, principals, strict=True))


def bootstrapped_view(facts: "Bootstrapped") -> Iterable[str]:
    going = f"{facts.deleted} deleted, " if facts.deleted else ""
    rows = [
        ("lab", f"{facts.lab}, account {facts.account}, {facts.region}"),
        ("resources", f"{facts.created} created, {facts.updated} changed, {going}{facts.kept} as they were"),
        ("data", f"s3://{facts.data_bucket}"),
        ("outputs", f"s3://{facts.outputs_bucket}"),
        ("image", facts.repository),
        *([("GitHub role", facts.github_role)] if facts.github_role else []),
        *([("alerts to", facts.email)] if facts.email else []),
        *([("dashboard", facts.dashboard)] if facts.dashboard else []),
    ]
    return [f"{what:12} {value}" for what, value in rows]


def doctor(
    ctx: typer.Context,
    request_quota: Annotated[
        bool, typer.Option("--request-quota", help="Ask AWS for larger vCPU quotas, for those that are too small, instead of checking.")
    ] = False,
    gpu: Annotated[
        str,
        typer.Option(
            help="Train a tiny model for minutes on a machine of this type instead, after its price and a question.",
            show_default=False,
            autocompletion=completing.types,
        ),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Check credentials, permissions, quotas, image, e-mail, cost tag and leftovers; each failure with the command that mends it."""
    from llmlab.ops.doctor import doctor as examine, without_account

    cli: CliContext = ctx.obj
    if gpu:
        from llmlab.commands.gpu_check import check_gpu

        check_gpu(cli, gpu, yes=yes, both=request_quota)
        return
    if request_quota:
        ask_for_quotas(cli, yes=yes)
        return
    why = cli.nowhere()
    facts = without_account(cli.settings, why) if why else examine(cli.settings, cli.aws, cli.clock)
    facts = replace(facts, checks=tuple(replace(check, hint=cli.ui.laid_over(check.hint)) for check in facts.checks))
    cli.ui.show(facts, lambda: checkup_view(facts))
    raise typer.Exit(ExitCode.DONE if facts.healthy else ExitCode.FAILED)


def ask_for_quotas(cli: CliContext, *, yes: bool) -> None:
    """Show the quotas that are too small, ask, and request an increase of each without a pending request."""
    from llmlab.ops import quota_increases

    wanted = quota_increases.too_small(cli.aws, cli.settings)
    new = [shortage for shortage in wanted if shortage.pending is None]
    if new:
        for shortage in new:
            cli.ui.say(shortage.words)
        cli.ui.confirm(f"ask AWS for {counted(len(new), 'larger quota')} in {cli.aws.region}?", yes=yes)
    filed = {shortage.quota.code: quota_increases.file(cli.aws, shortage) for shortage in new}
    facts = [(shortage, shortage.pending or filed[shortage.quota.code]) for shortage in wanted]
    cli.ui.show(
        [increase for _, increase in facts],
        lambda: (
            [
                f"{shortage.words}; {'asked for already' if shortage.pending else 'asked for'}: {increase.status}, case {increase.case}"
                for shortage, increase in facts
            ]
            or ["no quota is too small for an instance"]
        ),
    )


HEALTH = {"ok": "green", "warning": "yellow", "failed": "red", "unknown": "dim"}


def checkup_view(facts: "Checkup") -> Iterable["RenderableType"]:
    """The check-up: a line for each check, and below a failed one the command that fixes it."""
    width = max(len(check.name) for check in facts.checks)
    for check in facts.checks:
        yield Hanging(f"{check.health:8}{check.name:{width}}  ", check.message, lead_style=HEALTH[check.health])
        if check.hint and check.health != "ok":
            yield CommandLine(f"{'':8}mend: ", check.hint)


def teardown(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--everything", help="The results too: the outputs bucket and all it holds.")] = False,
    confirm: Annotated[str | None, typer.Option(help="The lab's name, instead of typing it, with --everything.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove everything of the lab except results, then ask AWS what is left; exit 1 if anything is."""
    from llmlab.ops import teardown as lab_remover

    cli: CliContext = ctx.obj
    aws = cli.aws
    leftovers = [leftover for leftover in lab_remover.inventory(aws) if everything or not leftover.results]
    if leftovers and not cli.ui.as_json:
        cli.ui.say(f"lab {aws.lab}, account {aws.account}, {aws.region}: this would go")
        for part in going_view(leftovers, names=bool(cli.ui.verbosity)):
            cli.ui.tell(part)
        for run in lab_remover.under_way(aws, cli.clock):
            cli.ui.say(under_way_words(run, everything=everything))
    if leftovers and everything:
        _confirm_everything(cli, confirm)
    elif leftovers:
        cli.ui.confirm(f"remove lab {aws.lab} and its uploaded data, and keep its results?", yes=yes)
    with cli.ui.painted() as paint:
        heard = paint if paint and not cli.ui.verbosity else cli.ui.say
        facts = lab_remover.teardown(cli.settings, aws, cli.clock, everything=everything, progress=heard)
    cli.ui.show(facts, lambda: torn_down_view(facts))
    if not facts.clean:
        what = facts.failure or f"{counted(len(facts.left), 'thing')} of the lab {'is' if len(facts.left) == 1 else 'are'} left"
        raise LabError(what, facts.hint or ("llmlab teardown --everything" if everything else "llmlab teardown"))


def going_view(leftovers: "Sequence[Leftover]", *, names: bool) -> Iterable["RenderableType"]:
    """The resources that a teardown deletes: many as a paragraph of kinds, with the names of those that hold data or run."""
    if names or len(leftovers) <= FEW:
        yield table(("kind", "name"), [(leftover.kind, leftover.id) for leftover in leftovers])
        return
    kinds = Counter(leftover.kind for leftover in leftovers if leftover.kind not in HOLDING)
    yield Hanging("- ", ", ".join(kind if number == 1 else f"{number} x {kind}" for kind, number in kinds.items()), lead_style="red")
    for leftover in leftovers:
        if leftover.kind in HOLDING:
            yield Hanging("- ", f"{leftover.kind} {leftover.id}", lead_style="red")


HOLDING = frozenset({"instance", "data bucket", "outputs bucket", "image repository", "secret"})
"""Kinds of resources that run or hold data of the user."""


def _confirm_everything(cli: CliContext, confirm: str | None) -> None:
    lab = cli.aws.lab
    if confirm is None:
        cli.ui.ask(f"remove lab {lab} with all results, checkpoints and adapters?", lab, option="--confirm")
    elif confirm != lab:
        raise Refused(f"the lab is {lab}, not {confirm}; nothing was changed", f"llmlab teardown --everything --confirm {lab}")


def under_way_words(run: "Run", *, everything: bool) -> str:
    """What a teardown does to an unfinished run, and what of it is lost."""
    at = f"step {run.step}{f' of {run.total_steps}' if run.total_steps else ''}"
    if everything:
        lost = "all of it is lost"
    elif run.checkpoint:
        lost = f"what comes after its checkpoint of step {run.checkpoint} is lost"
    else:
        lost = "it has no checkpoint, so all of it is lost"
    return f"run {run.run} is {run.state} at {at}: it ends, and {lost}; llmlab stop {run.run} saves it first"


def torn_down_view(facts: "TornDown") -> Iterable["RenderableType"]:
    yield f"lab {facts.lab}: {counted(len(facts.deleted), 'resource')} deleted, {counted(len(facts.instances), 'instance')} ended"
    if facts.stopped:
        yield f"stopped: {', '.join(facts.stopped)}"
    if facts.kept:
        yield f"kept: {', '.join(facts.kept)}"
    if facts.strangers:
        yield f"not ours, left as it is: {', '.join(facts.strangers)}"
    if facts.shared:
        yield f"of the account, not of the lab, so it stays: {', '.join(facts.shared)}"
    if facts.left:
        for leftover in facts.left:
            yield Hanging("left: ", f"{leftover.kind} {leftover.id}")
            yield CommandLine(f"{'':6}mend: ", leftover.command)
    elif not facts.failure:
        yield "asked AWS again: nothing else of this lab is there"


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
