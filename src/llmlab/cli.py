"""The composition root: what the user typed becomes one call, what it raised becomes words.

The commands themselves are in `commands/`, by noun. Global options may stand anywhere before a `--`.
"""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer

from llmlab import __version__
from llmlab.commands import data, lab, runs, sandbox
from llmlab.commands.state import State
from llmlab.errors import ExitCode, LabError, UsageError
from llmlab.ui import Ui

app = typer.Typer(
    name="llmlab",
    help="From a folder of JSONL to a fine-tuned model on AWS GPUs, and nothing left running.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Global options, anywhere on the line: --json --profile NAME --region NAME --config FILE -v -vv --version",
)
lab.register(app)
data.register(app)
runs.register(app)
sandbox.register(app)

VALUE_OPTIONS = ("--profile", "--region", "--config")


def main(arguments: Sequence[str] | None = None, state: State | None = None) -> NoReturn:
    """The `llmlab` command. Tests hand in a `State` of their own."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        rest, options = split_global(arguments)
    except UsageError as error:
        Ui().error(error)
        sys.exit(int(error.exit_code))
    if "--version" in options:
        print(f"llmlab {__version__}")  # noqa: T201 - the one answer that needs no Ui
        sys.exit(0)
    state = state or State(ui=Ui())
    state.ui.as_json = "--json" in options
    state.ui.verbosity = len(options.get("-v", ""))
    state.file = Path(options["--config"]) if "--config" in options else state.file
    state.flags = {name: options[f"--{name}"] for name in ("profile", "region") if f"--{name}" in options}
    sys.exit(run(rest, state))


def run(arguments: Sequence[str], state: State) -> int:
    """Parse, run one command, and turn what it raises into its exit code."""
    try:
        result = app(list(arguments), obj=state, standalone_mode=True)
    except SystemExit as stop:
        return int(stop.code or 0)
    except LabError as error:
        state.ui.error(error)
        if state.ui.verbosity > 1:
            traceback.print_exc()
        return int(error.exit_code)
    except KeyboardInterrupt:
        state.ui.error(LabError("interrupted", exit_code=ExitCode.INTERRUPTED))
        return int(ExitCode.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last net: a bug of ours, told in a sentence
        if state.ui.verbosity > 1:
            traceback.print_exc()
        state.ui.error(LabError(f"a bug in llmlab: {type(error).__name__}: {error}", "the same command with -vv"))
        return int(ExitCode.FAILED)
    return int(result or 0)


def split_global(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Take the global options out of the line, wherever they stand before a `--`."""
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
        elif word in {"-v", "-vv", "--verbose"}:
            options["-v"] = options.get("-v", "") + "v" * max(1, word.count("v") if word != "--verbose" else 1)
        elif name in VALUE_OPTIONS:
            if not equals and not words:
                raise UsageError(f"{name} needs a value", "llmlab --help")
            options[name] = value if equals else words.pop(0)
        else:
            rest.append(word)
    return rest, options
