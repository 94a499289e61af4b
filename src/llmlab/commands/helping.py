"""The layout of a command's help: options in sections, and an example that runs."""

import re
from typing import Any

from typer.core import TyperCommand

EXAMPLES = {
    "init": "llmlab init --budget 50",
    "bootstrap": "llmlab bootstrap --email me@example.org --budget 50 --github me/repository",
    "doctor": "llmlab doctor",
    "config": "llmlab config",
    "secret set": "llmlab secret set hf-token < token.txt",
    "secret list": "llmlab secret list",
    "secret remove": "llmlab secret remove hf-token",
    "image build": "llmlab image build --tag v2",
    "image push": "llmlab image push",
    "validate": "llmlab validate data/",
    "upload": "llmlab upload data/ --name faq",
    "estimate": "llmlab estimate --recipe qlora-8b --data faq",
    "launch": "llmlab launch --data faq --name faq-v2 --spot --max-hours 6 --max-cost 5",
    "status": "llmlab status faq-v2 --watch",
    "logs": "llmlab logs faq-v2 -f",
    "stop": "llmlab stop faq-v2",
    "resume": "llmlab resume faq-v2 --max-hours 2",
    "connect": "llmlab connect faq-v2 --port-forward 6006",
    "fetch": "llmlab fetch faq-v2",
    "try": "llmlab try faq-v2 'How do I return a parcel?'",
    "merge": "llmlab merge faq-v2",
    "report": "llmlab report faq-v2",
    "rm": "llmlab rm faq-v2",
    "cost": "llmlab cost",
    "teardown": "llmlab teardown",
    "sandbox start": 'eval "$(llmlab sandbox start)"',
    "sandbox stop": "llmlab sandbox stop",
    "sandbox exec": "llmlab sandbox exec -- bash",
    "sandbox interrupt": "llmlab sandbox interrupt latest",
    "sandbox model": "llmlab sandbox model tiny",
    "sandbox data": "llmlab sandbox data data --rows 100",
    "demo": "llmlab demo",
}
"""Command → an example, as a user would type it."""
AT_A_GLANCE = {
    "init": "Write llmlab.toml, recipe.yaml and the workflow into a project",
    "bootstrap": "Make the lab, or bring it back to what it should be",
    "doctor": "Check account, quotas, image and lab, and say what mends each",
    "config": "Show each setting, its value and where it came from",
    "secret": "The Hugging Face token, and where notices are posted",
    "image": "Make the training image with the local Docker",
    "validate": "Check every line of a dataset, and what is wrong with which",
    "upload": "Check a dataset and upload what has changed; or a model's folder",
    "estimate": "VRAM, hours and dollars of a recipe on each instance type",
    "launch": "Start a run, after its price and a question",
    "status": "The lab and its runs, or one run",
    "logs": "What a run says, or has said",
    "stop": "End a run: it saves a checkpoint first",
    "resume": "Start a run again from its newest checkpoint",
    "connect": "A terminal on a run's instance",
    "fetch": "Download what a run has made, checked",
    "try": "What the base model and the tuned one say to a prompt",
    "merge": "Base model and adapter as one model",
    "report": "One self-contained HTML page about a run",
    "rm": "Delete a run that is over from S3, after a question",
    "cost": "This month by run and by service, budget and forecast",
    "teardown": "Remove everything but the results, and ask AWS what is left",
    "demo": "The whole way in a sandbox on this machine, in a minute or two",
    "sandbox": "An AWS of your own on this machine: no account, no Docker",
}
"""Command → its summary on one line of `llmlab --help`."""
OPTIONS = {
    "launch": {
        "What is trained": ("recipe", "settings", "data", "run_name", "image"),
        "Where": ("instance_type", "spot", "fallback_on_demand", "fallback_after", "fallback_minutes", "wait_for_capacity"),
        "How much and how long": ("max_hours", "max_cost", "idle_minutes", "no_auto_shutdown", "no_resume", "wait_hours"),
    }
}
"""Command → sections of its help by parameter names; other parameters stand under the usual headings."""
TYPE = re.compile(r"<(?:list\[)?([a-z| ]+)\]?>")
"""How Typer shows the value of an option without a metavar."""
OF_TYPE = {"int": "COUNT", "float": "NUMBER", "path": "PATH"}
VALUES = {
    "lab": "NAME", "email": "ADDRESS", "github": "OWNER/REPOSITORY", "github_ids": "ID/ID", "budget": "DOLLARS", "vpc_id": "ID",
    "subnet_id": "ID", "permissions_boundary": "ARN", "tag": "TAG", "context": "FOLDER", "name": "NAME", "model": "NAME",
    "stream": "STREAM", "max_hours": "HOURS", "max_cost": "DOLLARS", "only": "PARTS", "confirm": "NAME", "folder": "FOLDER",
    "limit_minutes": "MINUTES", "notice_seconds": "SECONDS", "wait_for_capacity": "MINUTES", "max_length": "TOKENS", "max_tokens": "TOKENS",
    "gpu": "TYPE",
}  # fmt: skip
"""Option → metavar of its value."""
ANYWHERE = ("--profile", "--region", "--config", "--json", "--verbose")
"""The global options, for completion."""


class Command(TyperCommand):
    """A command with sections and an example in its help."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        arguments: list[tuple[str, str]] = []
        records: dict[str, tuple[str, str]] = {}
        for parameter in self.get_params(ctx):
            name, (left, right) = str(parameter.name), parameter.get_help_record(ctx) or ("", "")
            if left and parameter.param_type_name == "argument":
                arguments.append((TYPE.sub("", left).strip().upper(), right))
            elif left:
                records[name] = (_with_value(name, left), right)
        sections = OPTIONS.get(self.name or "", {})
        parts = {title: [records.pop(name) for name in names] for title, names in sections.items()}
        for title, rows in {"Arguments": arguments, **parts, "Options": list(records.values())}.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        super().format_epilog(ctx, formatter)
        example = EXAMPLES.get(ctx.command_path.partition(" ")[2])
        if example:
            with formatter.section("Example"):
                formatter.write_text(example)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Complete also the global options, which are no parameters of any command."""
        completions = list(super().shell_complete(ctx, incomplete))
        if incomplete.startswith("-"):
            kinds = [type(completion) for completion in super().shell_complete(ctx, "--")]
            completions += [kinds[0](name) for name in ANYWHERE if kinds and name.startswith(incomplete)]
        return completions


def _with_value(option: str, left: str) -> str:
    """An option's help entry with the metavar of its value, or its choices."""
    return TYPE.sub(lambda kind: kind[1] if "|" in kind[1] else VALUES.get(option, OF_TYPE.get(kind[1].split()[0], "TEXT")), left)


def dress(app: Any) -> None:
    """Use `Command` for every command of an app and of its groups."""
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        dress(group.typer_instance)
