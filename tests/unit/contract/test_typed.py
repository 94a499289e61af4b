"""A hint is the line that was typed with one thing changed, and a remembered line commands nobody's shell."""

import shlex
from dataclasses import replace

import pytest
import typer
from hypothesis import given, settings, strategies as st

from llmlab.cli import GLOBAL_OPTIONS, app
from llmlab.contract import EndReason, Manifest, Marker, Spec, typed

RUN = "20260101-000000-abcd"
LINES = [
    (
        "launch --spot --max-cost 5 --data nope --dry-run",
        "llmlab launch --data demo",
        (),
        "launch --spot --max-cost 5 --data demo --dry-run",
    ),
    (
        "launch --set lora.rnk=8 --set seed=1 --dry-run",
        "llmlab launch --set lora.rank=8",
        ("lora.rnk",),
        "launch --set seed=1 --dry-run --set lora.rank=8",
    ),
    ("launch --set seed=1 --set seed=2", "llmlab launch --set seed=3", (), "launch --set seed=3"),
    ("launch --set=seed=x --spot", "llmlab launch --set seed=3", (), "launch --set seed=3 --spot"),
    (
        "launch --instance-type p3.2xlarge --spot --instance-type p2.xlarge",
        "llmlab launch --instance-type g6.xlarge",
        (),
        "launch --instance-type g6.xlarge --spot",
    ),
    ("--region x launch --max-hours 0 --recipe dpo", "llmlab launch --max-hours 6", (), "--region x launch --max-hours 6 --recipe dpo"),
    ("launch --max-cost -1 --dry-run", "llmlab launch --max-cost 10", (), "launch --max-cost 10 --dry-run"),
    ("launch --spot --fallback-on-demand", "llmlab launch --on-demand", ("--fallback-on-demand",), "launch --on-demand"),
    ("launch --spot", "llmlab launch --dry-run  # then again", (), "launch --spot --dry-run  # then again"),
    ("launch --spot", "llmlab --region us-east-1", (), "launch --spot --region us-east-1"),
    ("resume latest --spot", f"llmlab resume {RUN} --max-hours 6", (), f"resume {RUN} --spot --max-hours 6"),
    ("resume w --max-cost 3", "llmlab launch --spot --wait-for-capacity 10", (), "resume w --max-cost 3 --spot --wait-for-capacity 10"),
    ("resume w --max-cost 3", "llmlab launch", (), "resume w --max-cost 3"),
    ("estimate --set a=1 --spot", "llmlab launch --set b=1", ("a",), "estimate --spot --set b=1"),
    ("connect w --port-forward x", "llmlab connect latest --port-forward 6006", (), "connect w --port-forward 6006"),
    ("connect --port-forward x", "llmlab connect latest --port-forward 6006", (), "connect --port-forward 6006 latest"),
    ("status --watch --json", "llmlab status --json", ("--watch",), "status --json"),
    ("status 2026", "llmlab status --all", ("2026",), "status --all"),
    ("sandbox exec -- nothing", "llmlab sandbox exec -- bash", (), "sandbox exec -- bash"),
    ("sandbox model tiny --folder x", "llmlab sandbox model tiny-2", (), "sandbox model tiny-2 --folder x"),
    ("--profile p launch --spot", "llmlab upload data/", (), "--profile p upload data/"),
    ("--config f secret set x", "llmlab secret set x < token.txt", (), "--config f secret set x < token.txt"),
    ("launch --spot", "llmlab --region x bootstrap", (), "--region x bootstrap"),
    ("--region y launch", "llmlab --region x bootstrap", (), "--region x bootstrap"),
    ("--region x launch --spot", "llmlab launch --help", (), "launch --help"),
    ("--region x bootstrap --yes", "llmlab bootstrap --print-operator-policy", (), "--region x bootstrap --print-operator-policy"),
    ("--config f --region x config", "llmlab init", ("--config",), "--region x init"),
]


@pytest.mark.parametrize(("line", "hint", "without", "result"), LINES, ids=[f"{line} {hint}" for line, hint, _, _ in LINES])
def test_the_line_as_typed_with_one_thing_changed(line: str, hint: str, without: tuple[str, ...], result: str) -> None:
    assert typed.changed(line.split(), hint, without) == f"llmlab {result}"


def test_the_lines_are_there() -> None:
    assert len(LINES) == 27


@pytest.mark.parametrize("hint", ["aws configure", "rm -r demo && llmlab demo", "unset LLMLAB_REGION", "", "it's"])
def test_a_line_of_others_stays(hint: str) -> None:
    assert typed.changed(["--region", "x", "launch", "--spot"], hint) == hint


VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=9).filter(
    lambda one: not one.startswith("-")
)


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from(["--spot", "--dry-run", "--no-resume", "--wait"]), unique=True),
    st.dictionaries(st.sampled_from(["--max-cost", "--recipe", "--data", "--profile", "--set"]), VALUES, max_size=5),
    st.sampled_from(["--set seed=3", "--max-hours 6", "--image latest", "--instance-type g6.xlarge", ""]),
)
def test_nothing_is_lost_but_what_is_replaced(flags: list[str], values: dict[str, str], change: str) -> None:
    words = [*flags, *(word for pair in values.items() for word in pair)]
    line = shlex.split(typed.changed(["launch", *words], f"llmlab launch {change}".strip()))
    wanted = [
        one for one in typed.items(words) if not (one[0] == "--set" and "seed" in change and (one[1] or "").partition("=")[0] == "seed")
    ]
    assert [one for one in typed.items(line[2:]) if one in wanted] == wanted
    assert set(change.split()) <= set(line)


def test_the_options_without_a_value_are_those_of_the_commands() -> None:
    def options(command: object) -> list[tuple[str, bool]]:
        inner = getattr(command, "commands", {}).values()
        own = [one for one in getattr(command, "params", []) if one.param_type_name == "option"]
        return [(name, one.is_flag) for one in own for name in (*one.opts, *one.secondary_opts)] + [
            pair for one in inner for pair in options(one)
        ]

    found = options(typer.main.get_command(app))
    anywhere = {word.strip(",") for words, _ in GLOBAL_OPTIONS for word in words.split() if word.startswith("--")}
    assert len(found) > 60
    flags = {name for name, flag in found if flag and name.startswith("--")} | {"--help", "--verbose"} | (anywhere - {*typed.ANYWHERE})
    assert flags == typed.FLAGS
    assert {name for name, flag in found if name.startswith("-") and not name.startswith("--") and not flag} == typed.SHORT
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {name for name, command in commands.items() if hasattr(command, "commands")} == typed.GROUPS
    for name, taken in typed.TAKES.items():
        assert taken <= dict(options(commands[name])).keys()
        assert taken <= dict(options(commands[typed.LAUNCH])).keys()


SPEC = Spec(
    RUN, "lab", "us-east-1", "1", {}, Manifest("sums", (), ""), "i", "ami", "t", (), spot=True, max_hours=2, created="", max_cost=5,
    command="llmlab launch --recipe dpo --spot --max-hours 1 --max-cost 5 --yes --json --set 'track=[a, b]'",
)  # fmt: skip


def failed(**more: object) -> Marker:
    return Marker(RUN, EndReason.DATA_ERROR, "2026-11-23T12:00:00Z", 1, **more)  # type: ignore[arg-type]


def test_after_a_failure_the_next_launch_is_the_one_that_was_typed() -> None:
    marker = failed(hint_code="set", hint_values={"objective": "sft"})
    line = "llmlab launch --recipe dpo --spot --max-hours 1 --max-cost 5 --set 'track=[a, b]' --set objective=sft"
    assert marker.command(RUN, SPEC) == line
    older = "llmlab launch --data sums --max-hours 2 --max-cost 5 --spot --set objective=sft"
    assert marker.command(RUN, replace(SPEC, command="")) == older
    assert failed().command(RUN, SPEC) == EndReason.DATA_ERROR.hint(RUN)


@pytest.mark.parametrize(
    "command",
    [
        "llmlab launch \x1b]52;c;x\a",
        "llmlab launch --data 'a\nb'",
        "llmlab teardown --yes",
        "rm -rf launch",
        "llmlab launch 'x",
        f"llmlab launch {'x' * 1001}",
    ],
)
def test_a_remembered_line_that_is_no_launch_or_commands_a_terminal_is_none(command: str) -> None:
    assert typed.remembered(command) == []
    assert (
        failed(hint_code="set", hint_values={"a": "1"}).command(RUN, replace(SPEC, command=command)).startswith("llmlab launch --data sums")
    )


def test_a_shell_does_nothing_with_what_a_remembered_line_holds() -> None:
    hostile = replace(SPEC, command="llmlab launch --data '$(id)' --recipe '`id`' ';' reboot")
    line = failed(hint_code="set", hint_values={"a": "1"}).command(RUN, hostile)
    assert line == "llmlab launch --data '$(id)' --recipe '`id`' ';' reboot --set a=1"
