"""What spends asks first, and what is refused names the line as it was typed: nothing that limits money is lost on the way."""

import io
import shlex
from pathlib import Path

import pytest

from llmlab.aws.session import Aws
from llmlab.clock import ManualClock
from llmlab.commands.sandbox import own_folder_first
from llmlab.contract import EndReason
from llmlab.errors import ExitCode, Interrupted
from llmlab.lifecycle import instances
from llmlab.ui import Ui

from .conftest import CommandLine, Terminal, assert_runs
from .test_bad_input import OFFLINE, write
from .test_launch import assert_only_reads, nothing_left
from .test_status import finish, launch

LAUNCH = ("launch", "--spot", "--max-cost", "3", "--max-hours", "1")
QUESTION = "start g6.xlarge, spot, for at most 1 hour, $"


def alive(aws: Aws) -> int:
    return sum(one.alive for one in instances.find(aws.ec2, aws.names))


@pytest.mark.parametrize("options", [(), ("--json",), ("--wait",)], ids=["words", "json", "wait"])
def test_a_launch_that_nobody_can_be_asked_about_starts_nothing(
    ready: CommandLine, lab_aws: Aws, recorder: list[str], options: tuple[str, ...]
) -> None:
    recorder.clear()
    result = ready(*LAUNCH, *options)
    assert result.code == ExitCode.REFUSED
    assert result.error.startswith(QUESTION)
    assert result.hint == shlex.join(["llmlab", *LAUNCH, *options, "--yes"])
    assert_only_reads(recorder)
    assert nothing_left(lab_aws)
    assert "--json" not in options or result.json["exit_code"] == ExitCode.REFUSED


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "no\n", "start\n"], ids=["end", "return", "n", "no", "else"])
def test_what_is_no_yes_starts_nothing(ready: CommandLine, lab_aws: Aws, answer: str) -> None:
    result = ready(*LAUNCH, answer=answer)
    assert (result.code, result.err.endswith("error: not confirmed, nothing was changed\n")) == (ExitCode.REFUSED, True)
    assert result.err.count(QUESTION) == result.err.count("[y/N]") == 1
    assert nothing_left(lab_aws)


@pytest.mark.parametrize(("more", "answer"), [((), "y\n"), (("--yes",), None), (("-y",), None)], ids=["y", "--yes", "-y"])
def test_a_yes_starts_it(ready: CommandLine, lab_aws: Aws, more: tuple[str, ...], answer: str | None) -> None:
    result = ready(*LAUNCH, *more, answer=answer)
    assert (result.code, alive(lab_aws)) == (0, 1), result.err
    assert ("[y/N]" in result.err) == (answer is not None)


def test_a_dry_run_asks_nothing(ready: CommandLine, lab_aws: Aws) -> None:
    result = ready(*LAUNCH, "--dry-run")
    assert (result.code, "[y/N]" in result.err, nothing_left(lab_aws)) == (0, False, True)


def test_a_resume_asks_with_what_is_left_of_its_limits(ready: CommandLine, lab_aws: Aws, recorder: list[str]) -> None:
    run, _ = launch(ready, "--max-hours", "2", "--max-cost", "0.6")
    finish(ready, lab_aws, run, EndReason.TRAINING_ERROR, cost=0.1)
    recorder.clear()
    refused = ready("resume", run, "--max-hours", "2")
    assert (refused.code, refused.hint) == (ExitCode.REFUSED, f"llmlab resume {run} --max-hours 2 --yes")
    assert refused.error.startswith(f"start {run} again, spot, for at most 2 hours, $0.50? needs an answer")
    assert_only_reads(recorder)
    no = ready("resume", run, answer="n\n")
    assert (no.code, "error: not confirmed, nothing was changed" in no.err, alive(lab_aws)) == (ExitCode.REFUSED, True, 0)
    assert ready("status", run, "--json").json["run"]["reason"] == "training_error"
    assert (ready("resume", run, answer="y\n").code, alive(lab_aws)) == (0, 1)


def test_ctrl_c_at_the_question_says_that_nothing_was_begun() -> None:
    class Impatient(Terminal):
        def readline(self, *_: object) -> str:  # type: ignore[override]
            raise KeyboardInterrupt

    ui = Ui(stdin=Impatient(), stderr=io.StringIO())
    ui.typed = LAUNCH
    with pytest.raises(Interrupted, match="interrupted at the question, nothing was changed") as stop:
        ui.confirm("start?", yes=False)
    assert stop.value.hint == shlex.join(["llmlab", *LAUNCH])


def test_what_is_refused_before_aws_is_asked_names_the_line_as_typed(lab: CommandLine, project: Path) -> None:
    """Every row of the table of bad input, a launch with every option that limits money."""
    limits = ["--spot", "--no-resume", "--dry-run", "--max-cost", "5"]
    kept = ours = others = 0
    for name, files, line, code, sentence in OFFLINE:
        for path, content in files.items():
            write(project / path, content)
        launches = line[0] == "launch"
        result = lab(*line, *(limits if launches else []))
        assert (result.code, result.error[: len(sentence)]) == (code, sentence), name
        program = assert_runs(result.hint)
        ours, others = ours + (program == "llmlab"), others + (program != "llmlab")
        if launches and result.hint.startswith("llmlab launch"):
            words = shlex.split(result.hint)
            assert [word for word in words if word in limits] == limits, name
            kept += 1
        for path in files:
            (project / path).unlink()
    assert (kept, ours, others) == (11, 21, 3)


class Watched(ManualClock):
    """Ctrl-C at the first wait."""

    def sleep(self, seconds: float) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("line", [("status", "--watch"), ("status", "-w"), ("logs", "-f"), ("logs", "--follow", "--json")], ids=" ".join)
def test_ctrl_c_is_the_end_of_a_watch_and_no_error(ready: CommandLine, line: tuple[str, ...]) -> None:
    launch(ready)
    ready.clock = Watched(ready.clock.now())
    result = ready(*line)
    assert (result.code, result.err) == (ExitCode.INTERRUPTED, "")


def test_in_a_sandbox_llmlab_is_this_program(tmp_path: Path) -> None:
    assert own_folder_first({"PATH": "/bin"}, tmp_path) == {"PATH": "/bin"}, "there is no llmlab there"
    (tmp_path / "llmlab").touch()
    assert own_folder_first({"PATH": "/bin", "HOME": "/x"}, tmp_path) == {"PATH": f"{tmp_path}:/bin", "HOME": "/x"}
    assert own_folder_first({}, tmp_path) == {"PATH": str(tmp_path)}
