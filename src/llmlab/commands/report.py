"""The report command: one HTML page about a run."""

import shlex
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from llmlab.commands import completing
from llmlab.commands.context import CliContext


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
    app.command()(report)


def report(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="A run's id, a part of it, its name, or latest.", autocompletion=completing.runs)] = "latest",
    output: Annotated[Path | None, typer.Option(help="The file to write.", show_default="outputs/RUN/report.html")] = None,
    show: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write one self-contained HTML page about a run."""
    from llmlab.ops.report import report as gather, write
    from llmlab.ops.runs import resolve

    cli: CliContext = ctx.obj
    name = resolve(cli.aws, run)
    facts = gather(cli.aws, cli.clock, name)
    path = write(facts, output or Path("outputs") / name / "report.html")
    summary = {
        "run": name, "path": str(path), "state": facts.state, "objective": facts.objective,
        "first_loss": facts.first_loss, "last_loss": facts.last_loss, "first_reward": facts.first_reward, "last_reward": facts.last_reward,
        "first_margin": facts.first_margin, "last_margin": facts.last_margin,
    }  # fmt: skip
    cli.ui.show(summary, lambda: str(path))
    if not show:
        cli.ui.suggest(shlex.join(["llmlab", "report", run, *(["--output", str(output)] if output else []), "--open"]))
    elif not opened(path.resolve().as_uri()):
        cli.ui.say("note: this computer has no browser to show it in")


def opened(address: str) -> bool:
    """Open an address in the browser; False when none can. A registered browser that is missing raises: https://docs.python.org/3/library/webbrowser.html."""
    try:
        return webbrowser.open(address)
    except (OSError, webbrowser.Error):
        return False
