"""The sandbox commands: a simulated AWS on this machine, without root, Docker or an account."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from llmlab.commands import completing
from llmlab.commands.context import CliContext
from llmlab.commands.formatting import size
from llmlab.contract import RUN_ID
from llmlab.errors import LabError, UsageError

START = 'eval "$(llmlab sandbox start)"'
"""The command that starts the sandbox and directs the shell to it."""


class MachineKind(StrEnum):
    """How the sandbox runs an instance: as processes, or as a container."""

    PROCESS = "process"
    DOCKER = "docker"
    AUTO = "auto"


MachineOption = Annotated[
    MachineKind,
    typer.Option(
        "--machine",
        help="What an instance is: processes of yours; a container with systemd, cloud-init and Docker, which needs Linux and root; "
        "or the container where that is possible.",
    ),
]
Delay = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="How long new roles, instance profiles, instances and tags stay unseen, as at AWS.",
    ),
]
Refuse = Annotated[
    list[str] | None,
    typer.Option(hidden=True, metavar="RULE[=AMOUNT]", help="Let a rule hold that is not always met: python -m llmlab.sandbox.refusals."),
]
Mode = Annotated[list[str] | None, typer.Option(hidden=True, help="What the account is like: new-account.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
    sandbox = typer.Typer(help="An AWS of your own on this machine: no account, no root, no Docker.", no_args_is_help=True)
    sandbox.command()(start)
    sandbox.command()(stop)
    sandbox.command("exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False})(
        execute
    )
    sandbox.command()(interrupt)
    sandbox.command()(model)
    sandbox.command()(data)
    app.add_typer(sandbox, name="sandbox")


def start(
    ctx: typer.Context, machine: MachineOption = MachineKind.PROCESS, delay: Delay = 0, refuse: Refuse = None, mode: Mode = None
) -> None:
    """Start it and leave it running; prints what to set: eval "$(llmlab sandbox start)"."""
    from llmlab.sandbox.server import UNSET, Sandbox

    cli: CliContext = ctx.obj
    running = Sandbox.find({name: value for name, value in cli.environment.items() if name != "AWS_ENDPOINT_URL"})
    if running is None:
        running = Sandbox.start(
            cli.clock,
            containers=in_containers(machine),
            delay_seconds=delay,
            rules=refuse or (),
            modes=mode or (),
            say=cli.ui.say,
        )
        running.save(cli.environment)
        cli.ui.say(f"the sandbox is running: {running.endpoint}")
    else:
        cli.ui.say(f"the sandbox was running already: {running.endpoint}")
    settings = running.environment()
    facts = {"endpoint": running.endpoint, "pid": running.pid, "folder": running.folder, "environment": settings}
    unset = [name for name in UNSET if name in cli.environment]
    if shutil.which("llmlab", path=cli.environment.get("PATH", "")) is None:
        settings = {**settings, "PATH": own_folder_first(cli.environment).get("PATH", "")}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in settings.items()] + ([f"unset {' '.join(unset)}"] if unset else [])
    if cli.ui.as_json:
        cli.ui.show(facts, list)
        return
    for line in lines:
        cli.ui.line(line)
    if cli.ui.stdout.isatty():
        cli.ui.say(f"hint: {START}")


def own_folder_first(environment: Mapping[str, str], folder: Path | None = None) -> dict[str, str]:
    """The environment with this program's folder first in PATH, so that `llmlab` is found without an active virtual environment."""
    folder = folder or Path(sys.executable).parent
    if not (folder / "llmlab").is_file():
        return dict(environment)
    return {**environment, "PATH": os.pathsep.join(filter(None, (str(folder), environment.get("PATH", ""))))}


def in_containers(kind: MachineKind) -> bool:
    """Whether the sandbox runs instances as containers."""
    from llmlab.sandbox.estate import requirements

    return kind is MachineKind.DOCKER or (kind is MachineKind.AUTO and requirements.possible())


def stop(ctx: typer.Context) -> None:
    """Stop it, and every instance in it. Nothing of it is kept, nor of one that was killed."""
    from llmlab.sandbox.estate.estate import sweep
    from llmlab.sandbox.server import Sandbox, state_file

    cli: CliContext = ctx.obj
    running = Sandbox.find(cli.environment) or Sandbox.find(
        {name: value for name, value in cli.environment.items() if name != "AWS_ENDPOINT_URL"}
    )
    noted = state_file(cli.environment)
    if running is not None:
        running.stop(cli.clock)
    noted.unlink(missing_ok=True)
    swept = sweep(cli.clock)
    cli.ui.show({"stopped": running is not None, "swept": swept, "endpoint": running.endpoint if running else None}, list)
    cli.ui.say("the sandbox and its instances are gone" if running else "no sandbox is running")
    if swept:
        cli.ui.say(f"{swept} {'thing' if swept == 1 else 'things'} of a sandbox that was killed: removed")


def execute(
    ctx: typer.Context, machine: MachineOption = MachineKind.PROCESS, delay: Delay = 0, refuse: Refuse = None, mode: Mode = None
) -> None:
    """Run a command in a fresh sandbox, which ends with it: llmlab sandbox exec -- bash."""
    from llmlab.sandbox.server import Sandbox

    cli: CliContext = ctx.obj
    if not ctx.args:
        raise UsageError("there is no command to run in the sandbox", "llmlab sandbox exec -- bash")
    sandbox = Sandbox.start(
        cli.clock,
        attached=True,
        containers=in_containers(machine),
        delay_seconds=delay,
        rules=refuse or (),
        modes=mode or (),
        say=cli.ui.say,
    )
    try:
        environment = own_folder_first(sandbox.surroundings(cli.environment))
        code = subprocess.run(ctx.args, env=environment, check=False).returncode
    except OSError as error:
        raise UsageError(f"{ctx.args[0]} cannot be run: {error.strerror}", "llmlab sandbox exec -- bash") from error
    finally:
        sandbox.stop(cli.clock)
    raise typer.Exit(128 - code if code < 0 else code)


def interrupt(
    ctx: typer.Context,
    run: Annotated[
        str, typer.Argument(help="A run's id, a part of it, its name, latest, or an instance's id.", autocompletion=completing.runs)
    ],
    notice_seconds: Annotated[float, typer.Option(min=0, help="From the notice to the end.")] = 120,
) -> None:
    """Take a run's spot instance back, as AWS does: a notice, and two minutes later the end."""
    from llmlab.sandbox.server import Sandbox

    cli: CliContext = ctx.obj
    sandbox = Sandbox.find(cli.environment)
    if sandbox is None:
        raise LabError("no sandbox is running", START)
    if not run.startswith("i-") and not RUN_ID.fullmatch(run):
        from llmlab.ops.runs import resolve

        if cli.environment.get("AWS_ENDPOINT_URL", "").rstrip("/") != sandbox.endpoint:
            raise LabError(f"this shell is not led into the sandbox, so only a whole run id is known, and {run} is none", START)
        run = resolve(cli.aws, run)
    instances = sandbox.interrupt(run, notice_seconds)
    cli.ui.show(
        {"instances": instances, "notice_seconds": notice_seconds},
        lambda: [f"{instance}: interrupted in {notice_seconds:g} s" for instance in instances],
    )


def model(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where to write it.")],
) -> None:
    """Make a small base model and its tokenizer, offline."""
    from llmlab.sandbox.model import make

    cli: CliContext = ctx.obj
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty", shlex.join(["llmlab", "sandbox", "model", f"{folder}-2"]))
    with cli.ui.bar("training it a little", "steps") as progress:
        make(folder, progress=progress)
    written = sum(file.stat().st_size for file in folder.iterdir())
    cli.ui.show({"path": str(folder), "size": written}, lambda: f"{folder}: {size(written)} written")
    cli.ui.suggest(shlex.join(["llmlab", "upload", str(folder), "--model", "tiny"]))


def data(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where to write it.")],
    rows: Annotated[int, typer.Option(help="Examples.", min=1, max=1_000_000)] = 400,
) -> None:
    """Make example data to try things on: questions about a runbook, and their answers."""
    from llmlab.sandbox.examples import write

    cli: CliContext = ctx.obj
    path = write(folder, rows=rows)
    cli.ui.show({"path": str(path), "rows": rows}, lambda: f"{path}: {rows:,} examples written")
    cli.ui.suggest(shlex.join(["llmlab", "validate", str(folder)]))
