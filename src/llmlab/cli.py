"""The entry point: parses the command line, calls one command, and turns what it raises into a message and an exit code.

The commands themselves are in `commands/`, by noun. Global options may stand anywhere before a `--`, which Typer does not
offer, so they are taken out of the line first. Nothing heavy is imported here: `llmlab --help` is read more often than any page.
"""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from llmlab import __version__
from llmlab.commands import costs, data, demo, helping, image, lab, launch, model, report, runs, sandbox, settings
from llmlab.commands.context import CliContext
from llmlab.commands.interrupt_hints import interrupted, is_watching
from llmlab.errors import ExitCode, LabError, UsageError
from llmlab.ui import Ui

SECTIONS = {
    "Set up": ("init", "bootstrap", "doctor", "config", "secret", "image"),
    "Data": ("validate", "upload"),
    "Train": ("estimate", "launch", "status", "logs", "stop", "resume", "connect"),
    "Results": ("fetch", "try", "merge", "report", "rm"),
    "Money, and the end": ("cost", "teardown"),
    "Without an account": ("demo", "sandbox"),
}
"""The commands as a user meets them: the order of the help and of docs/cli.md."""
ORDER = tuple(name for names in SECTIONS.values() for name in names)

GLOBAL_OPTIONS = (
    ("--profile NAME", "AWS profile"),
    ("--region NAME", "AWS region"),
    ("--config FILE", "Settings file [default: llmlab.toml]"),
    ("--json", "One JSON document on stdout"),
    ("-v, -vv", "More words; -vv shows each AWS call and tracebacks"),
    ("--version", "Show the version and exit"),
)
ABOUT = "From a folder of JSONL to a fine-tuned model on AWS GPUs, nothing left running"
ANYWHERE = (
    "Anywhere: --profile NAME  --region NAME  --config FILE  --json  -v  --version",
    "Options and an example: llmlab COMMAND --help, completion: --install-completion",
)
VALUE_OPTIONS = ("--profile", "--region", "--config")


class Commands(TyperGroup):
    """The root group: commands in `ORDER`, and the options that may stand anywhere."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Click's signature
        """Write the help as one screen of 80 by 40: a line for each command, whose own help has the rest."""
        width = max(map(len, ORDER))
        lines = ["Usage: llmlab COMMAND [OPTIONS]", "", f"  {ABOUT}", ""]
        for title, names in SECTIONS.items():
            lines += [title, *(f"  {name:{width}}  {helping.AT_A_GLANCE[name]}" for name in names)]
        formatter.write("\n".join([*lines, "", *ANYWHERE]) + "\n")


app = typer.Typer(
    name="llmlab",
    help=ABOUT,
    cls=Commands,
    rich_markup_mode=None,  # rich costs a tenth of a second on every --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
for module in (settings, lab, data, launch, runs, model, costs, report, image, sandbox, demo):
    module.register(app)
helping.dress(app)


@app.callback()
def root() -> None:
    """From a folder of JSONL to a fine-tuned model on AWS GPUs, nothing left running."""


def main(arguments: Sequence[str] | None = None, cli: CliContext | None = None) -> NoReturn:
    """The `llmlab` command. Tests pass a `CliContext` of their own."""
    if cli is None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` is as polite as Ctrl-C
    line = sys.argv[1:] if arguments is None else list(arguments)
    cli = cli or CliContext(ui=Ui())
    try:
        code = run(line, cli)
    except BrokenPipeError:
        code = int(ExitCode.FAILED)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has left: nothing to flush into, no complaint at exit
    sys.exit(code)


def run(line: Sequence[str], cli: CliContext) -> int:
    """Parse, run one command, and turn what it raises into its exit code."""
    arguments: list[str] = []
    cli.ui.typed = line
    cli.ui.as_json = "--json" in line[: line.index("--") if "--" in line else None]
    try:
        arguments, options = split_global(line)
        cli.ui.verbosity = len(options.get("-v", ""))
        cli.file = Path(options["--config"]) if "--config" in options else cli.file
        cli.flags = {name: options[f"--{name}"] for name in ("profile", "region") if f"--{name}" in options}
        if "--version" in options:
            cli.ui.show({"version": __version__}, lambda: f"llmlab {__version__}")
            return int(ExitCode.DONE)
        result = app(arguments or ["--help"], obj=cli, prog_name="llmlab", standalone_mode=False)
    except KeyboardInterrupt:
        result = ExitCode.INTERRUPTED
    except (EOFError, typer.Abort):
        return fail(cli.ui, LabError("the input ended before the answer", exit_code=ExitCode.REFUSED))
    except typer.TyperException as error:
        return fail(cli.ui, from_typer(error))
    except LabError as error:
        return fail(cli.ui, error)
    except BrokenPipeError:
        raise
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except Exception as error:  # noqa: BLE001 - the last net: a bug of ours, reported in a sentence
        hint = cli.ui.again("-vv") if cli.ui.verbosity < 2 else ""
        words = (str(error).splitlines() or [""])[0]
        return fail(cli.ui, LabError(f"a bug in llmlab: {type(error).__name__}: {words}", hint))
    if result == ExitCode.INTERRUPTED and is_watching(arguments):
        return int(ExitCode.INTERRUPTED)
    if result == ExitCode.INTERRUPTED:  # Typer turns Ctrl-C into this
        return fail(cli.ui, interrupted(line, arguments))
    return int(result) if isinstance(result, int) else int(ExitCode.DONE)


def fail(ui: Ui, error: LabError) -> int:
    """Print an error, the traceback only with `-vv`, and return the exit code."""
    if ui.verbosity > 1:
        ui.say(traceback.format_exc().rstrip())
    ui.error(error)
    return int(error.exit_code)


def from_typer(error: typer.TyperException) -> UsageError:
    """Convert Typer's error to ours: one sentence, and as hint the help of the command, or of the command that was meant."""
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context else "llmlab"
    if type(error).__name__ == "NoArgsIsHelpError":
        return UsageError(f"{path} needs a command", f"{path} --help")
    message: str = getattr(error, "format_message", error.__str__)()
    message = message.partition(" (Possible options:")[0]
    sentence, _, suggestion = message.strip().rstrip(".?").partition(". Did you mean ")
    meant = suggestion.split(",")[0].strip("'")
    if meant and not _is_near(sentence, meant):
        suggestion = ""
    hint = f"{path} {meant} --help" if suggestion else f"{path} --help"
    words = " ".join(sentence.split())
    return UsageError(words[:1].lower() + words[1:].rstrip("."), hint)


def _is_near(sentence: str, meant: str) -> bool:
    """Whether the quoted word is a misspelling of the suggested one: Click finds `logs` near `bogus`."""
    from difflib import SequenceMatcher

    typed = sentence.partition("'")[2].partition("'")[0]
    return SequenceMatcher(None, typed, meant).ratio() >= 0.7


def split_global(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Split the global options from the other words, wherever they stand before a `--`.

    Raises:
        UsageError: an option that needs a value stands last.
    """
    rest: list[str] = []
    options: dict[str, str] = {}
    words = list(arguments)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            rest += [word, *words]
            break
        if word in {"--json", "--version"}:
            options[word] = ""
        elif word in {"-v", "-vv", "-vvv", "--verbose"}:
            options["-v"] = options.get("-v", "") + "v" * (1 if word == "--verbose" else len(word) - 1)
        elif name in VALUE_OPTIONS:
            if not (value if equals else words):
                raise UsageError(f"{name} needs a value", "llmlab --help")
            options[name] = value if equals else words.pop(0)
        else:
            rest.append(word)
    return rest, options
