"""The demo command: from an empty folder to an adapter, and nothing left running, in a fresh sandbox.

Each step is the real command, run as the user would type it. One line of its output is shown, so that the demo fits on one screen, and
everything with -v. However it ends, the sandbox and all in it is deleted.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from llmlab.commands import progress
from llmlab.commands.context import CliContext
from llmlab.commands.formatting import dollars
from llmlab.commands.sandbox import MachineKind, MachineOption, in_containers
from llmlab.contract import ADAPTER, METRICS_FILE
from llmlab.errors import ExitCode, Interrupted, LabError, UsageError

BEFORE = (
    "sandbox model tiny",
    "sandbox data data",
    "init",
    "bootstrap --yes --email you@example.com --budget 50 --github you/project",
    "doctor",
    "validate data",
    "upload data --name demo",
    "upload tiny --model tiny",
    "estimate --recipe sandbox --data demo --instance-type g6.xlarge,g5.xlarge",
    "launch --recipe sandbox --data demo --name demo-run --spot --max-hours 1 --yes --wait",
    "status",
    "logs demo-run --tail 5",
    "fetch demo-run",
    "report demo-run",
    "cost",
)
AFTER = ("teardown --yes",)
ONE_LINE = {
    "bootstrap": r"^(resources) +(.*)",
    "validate": r"^(tokens) +(.*)",
    "estimate": r"^(.* chosen.*)",
    "launch": r"^(instance +i-.*)",
    "fetch": r"^(\S+: .* checked by SHA-256)",
    "cost": r"^(total) .*?(\$[\d.,]+)\s*$",
    "teardown": r"^(.*(?:nothing of the lab|deleted).*)",
}
"""Command → pattern of the line of its output that is shown, the last that matches."""
MOST_WORDS = 130
"""Characters that are shown of a model's answer: an untrained model may not stop."""
NOT_ZERO = {"doctor": (ExitCode.DONE, ExitCode.FAILED)}
"""Commands with other exit codes than 0: nobody confirms the e-mail of this lab, so `doctor` fails."""
STEP_SECONDS = 600
LAST_LINES = 15
"""How many lines of a failed command's output are shown."""


@dataclass(frozen=True)
class Shown:
    """What the demo ends with. `price` in US dollars an hour, `cost` in US dollars; both of AWS, where this has not run."""

    run: str
    seconds: float
    first_loss: float
    last_loss: float
    prompt: str
    base: str
    tuned: str
    instance_type: str
    spot: bool
    price: float
    hours: float
    cost: float
    adapter: str
    report: str


def register(app: typer.Typer) -> None:
    """Add this module's commands, in the order the help shows them."""
    app.command()(demo)


def demo(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Option(help="Where model, data and outputs are kept; must not exist yet or be empty.")] = Path(
        "llmlab-demo"
    ),
    machine: MachineOption = MachineKind.PROCESS,
) -> None:
    """Bootstrap to teardown in a sandbox on this machine, on a real small model: no account, no Docker, no root."""
    from llmlab.ops import extras
    from llmlab.sandbox.server import Sandbox

    cli: CliContext = ctx.obj
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty", shlex.join(["llmlab", "demo", "--folder", f"{folder}-2"]))
    extras.require("sandbox", "trainer")
    started = cli.clock.now()
    folder.mkdir(parents=True, exist_ok=True)
    cli.ui.say(f"a sandbox is started; everything below happens on this machine, in {folder}", "dim")
    sandbox = Sandbox.start(cli.clock, attached=True, containers=in_containers(machine), say=cli.ui.say)
    try:
        stage = Stage(cli, folder, sandbox.surroundings(without_settings(cli.environment)))
        for line in BEFORE:
            stage.play(line)
        run = stage.ask("status latest")
        answers = stage.answers()
        for line in AFTER:
            stage.play(line)
        facts = summary(folder, run, answers, (cli.clock.now() - started).total_seconds())
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; the sandbox and everything in it is gone", f"rm -r {shlex.quote(str(folder))} && {cli.ui.again()}"
        ) from None
    finally:
        sandbox.stop(cli.clock)
    cli.ui.say("")
    cli.ui.show(facts, lambda: view(facts))


class Stage:
    """Runs commands in the demo's folder and sandbox, each echoed as typed."""

    def __init__(self, cli: CliContext, folder: Path, environment: Mapping[str, str]) -> None:
        self.cli, self.folder = cli, folder
        package = str(Path(__file__).parents[2])
        self.environment = {**environment, "PYTHONPATH": os.pathsep.join(filter(None, (package, environment.get("PYTHONPATH", ""))))}

    def play(self, line: str) -> None:
        """Run one command and show a line of its output.

        Raises:
            LabError: the command failed, or took too long.
        """
        ui = self.cli.ui
        ui.say(f"\n$ llmlab {line}" if ui.verbosity else f"$ llmlab {line}", "bold")
        command = [sys.executable, "-m", "llmlab", *shlex.split(line)]
        if ui.verbosity:
            lines: list[str] = []  # with -v the command has shown its output itself
            code, _ = self.run(command, stdout=sys.stderr if ui.as_json else None)
        else:
            code, lines = self.watch(command)
        if code not in NOT_ZERO.get(line, (ExitCode.DONE,)):
            for text in lines[-LAST_LINES:]:
                ui.say(text)
            raise LabError(f"llmlab {line} ended with {code}; the sandbox and everything in it is gone", "llmlab demo -vv")
        if shown := _shown(line, lines):
            ui.say(f"  {shown}"[: max(40, shutil.get_terminal_size().columns - 1)], "dim")

    def watch(self, command: Sequence[str]) -> tuple[int, list[str]]:
        """Run a command; returns its exit code and lines of both streams. Paints the bar of a run; killed after `STEP_SECONDS`."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines: list[str] = []
        limit = threading.Timer(STEP_SECONDS, process.kill)
        limit.start()
        try:
            with self.cli.ui.painted() as paint:
                for text in process.stdout or ():
                    lines.append(text.rstrip("\n"))
                    done = progress.share_of_words(lines[-1])
                    if paint and done is not None:
                        paint(f"  {progress.bar(done)}  {lines[-1]}")
            return process.wait(), lines
        finally:
            limit.cancel()
            if process.poll() is None:
                process.terminate()
            process.wait()
            if process.stdout:
                process.stdout.close()

    def ask(self, line: str) -> Any:
        """Run a command with `--json` and return the parsed document."""
        code, out = self.run(
            [sys.executable, "-m", "llmlab", *shlex.split(line), "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        if code:
            raise LabError(f"llmlab {line} --json ended with {code}", "llmlab demo -vv")
        return json.loads(out)

    def answers(self) -> Any:
        """The answers of base and tuned model to one prompt, using the fetched adapter."""
        from llmlab.sandbox.examples import prompt

        return self.ask(f"try latest {shlex.quote(prompt())}")

    def run(self, command: Sequence[str], *, stdout: Any, stderr: Any = None) -> tuple[int, str]:
        """Run a command; returns its exit code and output. The process is never left running."""
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, text=True
        )
        try:
            out, _ = process.communicate(timeout=STEP_SECONDS)
        except subprocess.TimeoutExpired:
            raise LabError(f"{shlex.join(command[1:])} took more than {STEP_SECONDS} seconds", "llmlab demo -vv") from None
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
        return process.returncode, out or ""


def _shown(line: str, lines: Sequence[str]) -> str:
    """The line of a command's output that the demo shows, "" for none."""
    pattern = re.compile(ONE_LINE.get(line.partition(" ")[0], "(?!)"))
    shown = [" ".join(" ".join(match.groups()).split()) for text in lines if (match := pattern.match(text))]
    return shown[-1] if shown else ""


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the user's own lab settings."""
    return {name: value for name, value in environment.items() if not name.startswith("LLMLAB_")}


def fetched_file(folder: Path, name: str) -> Path:
    """The fetched file of this name among the outputs."""
    for path in sorted(folder.glob(f"outputs/**/{name}")):
        return path
    raise LabError(f"there is no {name} among the outputs in {folder}", "llmlab demo -vv")


def summary(folder: Path, status: Any, answers: Any, seconds: float) -> Shown:
    """Build the demo's result from the commands' documents and files."""
    metrics = [json.loads(line) for line in fetched_file(folder, METRICS_FILE).read_text(encoding="utf-8").splitlines()]
    losses = [float(row["loss"]) for row in metrics if row.get("loss") is not None]
    run = status["run"]
    return Shown(
        run=run["run"],
        seconds=seconds,
        first_loss=losses[0],
        last_loss=losses[-1],
        prompt=answers["prompt"],
        base=answers["base"],
        tuned=answers["tuned"],
        instance_type=run["instance_type"],
        spot=run["spot"],
        price=status["attempts"][-1]["price"],
        hours=run["hours"],
        cost=run["cost"],
        adapter=str(fetched_file(folder, f"{ADAPTER}/adapter_config.json").parent),
        report=str(fetched_file(folder, "report.html")),
    )


def view(facts: Shown) -> Any:
    """The screen with the demo's result."""
    from llmlab.commands.run_screens import pairs

    market = "spot" if facts.spot else "on-demand"
    instance = (
        f"{facts.hours * 60:.1f} minutes of {facts.instance_type} ({market}) at {dollars(facts.price)} an hour: {dollars(facts.cost)}"
    )
    return pairs(
        [
            ("loss", f"{facts.first_loss:.3f} before, {facts.last_loss:.3f} after"),
            ("prompt", facts.prompt),
            ("base model", facts.base[:MOST_WORDS] or "(nothing)"),
            ("tuned model", facts.tuned[:MOST_WORDS] or "(nothing)"),
            ("took", f"{facts.seconds:.0f} seconds from an empty folder to an empty account"),
            ("on AWS", f"{instance}, at the price this launch was given"),
            ("adapter", facts.adapter),
            ("report", facts.report),
        ],
    )
