"""Who can read a line to copy: our own commands, the parsers of `aws` and `pip` on this machine, or a list."""

import contextlib
import importlib.util
import io
import re
import shlex
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from llmlab.contract import typed

LISTED = (
    "aws configure",  # asks: https://docs.aws.amazon.com/cli/latest/reference/configure/
    "aws logs tail",  # of version 2, where 1 is here: https://docs.aws.amazon.com/cli/latest/reference/logs/tail.html
    "aws sso login",  # of version 2: https://docs.aws.amazon.com/cli/latest/reference/sso/login.html
    "apt-get install --no-install-recommends",
    "brew install --cask session-manager-plugin",
    "curl -fsSLo",
    "df -h .",
    "docker info",
    "docker-registry --version",
    "dockerd --debug",
    "ls -l",
    "mkdir",
    "mmdebstrap",
    "mv",
    "rm -r",
    "sudo dpkg -i",
    "unset",
    "vi",
    "vllm serve",
    "${EDITOR:-vi}",
)
"""How lines begin that no program here can parse."""


@dataclass(frozen=True)
class Heard:
    """A line to copy. `kind` is "made" for the hint of an error that was made, whether shown or not, and "fact" for a field of `--json`."""

    kind: str
    line: str
    program: str
    form: str
    """Its command and the names of its options."""


@lru_cache(maxsize=10_000)
def parsed(kind: str, line: str) -> Heard:
    """The line, by its program.

    Raises:
        AssertionError: it does not parse, or nobody knows it.
    """
    assert len(line.splitlines()) == 1, f"{line!r} is not one line"
    programs: list[str] = []
    for part in re.split(r" && | \|\| ", line):
        program = _parse(part.partition(typed.COMMENT)[0].strip(), line)
        programs.append(program)
        for inner in re.findall(r"\$\(([^()]*)\)", part):
            _parse(inner, line)
    words = words_of(line)
    names = sorted({name for name, _ in typed.items(words) if name.startswith("-")})
    plain = [word for word in words if re.fullmatch(r"[a-z][a-z0-9-]*", word)][: 3 if words[0] == "aws" else 2]
    command = ["llmlab", *typed.command(typed.items(words[1:]))] if words[0] == "llmlab" else plain or words[:1]
    return Heard(kind, line, programs[-1], " ".join([*command, *names]))


def words_of(line: str) -> list[str]:
    try:
        return shlex.split(line.partition(typed.COMMENT)[0].partition(" < ")[0])
    except ValueError as error:
        raise AssertionError(f"no shell reads `{line}`: {error}") from error


def _parse(line: str, whole: str) -> str:
    words = words_of(line)
    while words and re.fullmatch(r"LLMLAB_[A-Z_]+=.*", words[0]):
        _known_setting(words.pop(0), whole)
    assert words, f"{whole!r} is no command"
    if words[:2] == ["sudo", "llmlab"]:
        words.pop(0)
    if words[0] == "llmlab":
        _parse_ours(words[1:], whole)
    elif any(line.startswith(one) for one in LISTED):
        pass
    elif words[0] == "aws":
        _parse_aws(words[1:], whole)
    elif words[:2] == ["pip", "install"]:
        _parse_pip(words[2:], whole)
    elif words[0] in {"python", "python3"} and words[1] == "-m":
        assert importlib.util.find_spec(words[2]), f"`{whole}` runs a module that does not exist"
    else:
        raise AssertionError(f"`{whole}` is a line that nobody here knows")
    return words[0]


def _known_setting(word: str, whole: str) -> None:
    from llmlab.config import Settings

    name = word.partition("=")[0].removeprefix("LLMLAB_").lower()
    assert name in Settings.model_fields, f"`{whole}` sets {name}, which is no setting"


@cache
def commands() -> Any:
    """Our commands, as Typer made them."""
    import typer

    from llmlab.cli import app

    return typer.main.get_command(app)


@cache
def options(command: tuple[str, ...]) -> frozenset[str]:
    """The names of a command's options; none where there is no such command."""
    found = commands()
    for name in command:
        found = getattr(found, "commands", {}).get(name)
    return frozenset(name for one in getattr(found, "params", []) for name in (*one.opts, *one.secondary_opts) if name.startswith("-"))


def _parse_ours(words: Sequence[str], whole: str) -> None:
    import typer

    from llmlab.cli import split_global
    from llmlab.commands.context import CliContext
    from llmlab.errors import LabError
    from llmlab.ui import Ui

    try:
        rest, _ = split_global(words)
        command: Any = commands()
        while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            assert rest[0] in command.commands, f"`{whole}` names a command that does not exist"
            command, rest = command.commands[rest[0]], rest[1:]
        if not hasattr(command, "commands") and "--help" not in rest:
            with contextlib.suppress(typer.Exit):  # an option that shows something does so here
                command.make_context("llmlab", list(rest), obj=CliContext(ui=Ui(stdout=io.StringIO())))
    except (typer.TyperException, LabError) as error:
        raise AssertionError(f"`{whole}` does not parse: {getattr(error, 'message', error)}") from error


def _parse_pip(words: Sequence[str], whole: str) -> None:
    from pip._internal.commands import create_command

    assert not any(word.startswith("llmlab") for word in words), f"`{whole}` takes llmlab from an index, where nobody has published it"

    try:
        create_command("install").parse_args(list(words))
    except SystemExit as error:
        raise AssertionError(f"`{whole}` does not parse") from error


@cache
def _aws_services() -> tuple[Any, Any]:
    """AWS's own command line, and its services."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from awscli.clidriver import create_clidriver

        driver = create_clidriver()
        return driver, driver._get_command_table()


def _parse_aws(words: Sequence[str], whole: str) -> None:
    """The parser of AWS's command line reads it, and its model of the service finds the values right; nothing is called."""
    from botocore.validate import ParamValidator

    driver, services = _aws_services()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            known, rest = driver._create_parser(services).parse_known_args(list(words))
            service = services[known.command]
            inner = service._get_command_table() if hasattr(service, "_get_command_table") else service.subcommand_table
            command = inner[rest[0]]
            if rest[1:] == ["help"]:
                return
            if hasattr(command, "_operation_model"):
                shape, table = command._operation_model.input_shape, command.arg_table
                values, unknown = command._create_operation_parser(table).parse_known_args(rest[1:])
                assert not unknown, f"{unknown} are no options"
                parameters = command._build_call_parameters(values, table, known)
                report = ParamValidator().validate(parameters, shape) if shape else None
                assert not report or not report.has_errors(), report.generate_report()
            else:  # one of its own, which would do its work: its options are looked at alone
                names = {word.partition("=")[0] for word in rest[1:] if word.startswith("--")}
                assert names <= {f"--{name}" for name in command.arg_table}, f"{names} are not all options"
    except (Exception, SystemExit) as error:
        raise AssertionError(f"`{whole}` is no line of aws: {type(error).__name__} {error}") from error
