"""The documents that programs leave for each other in S3 and in the control folder, and the keys they lie under."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmlab import contract
from llmlab.agent.exit_diagnosis import TrainingExit, diagnose
from llmlab.agent.shared_files import read
from llmlab.contract import (
    Attempt,
    AttemptEnd,
    Complete,
    ContractError,
    Heartbeat,
    Manifest,
    Marker,
    Outcome,
    Progress,
    Spec,
    Stop,
    StopRequest,
)
from llmlab.files import sha256
from llmlab.ops import report
from llmlab.trainer.training import checkpoints
from tests.fuzz.laws import one_line

Target = Callable[[bytes], None]
WORK = Path(tempfile.gettempdir())


def document(kind: type[Any]) -> Target:
    """Reading gives a document or `ContractError`; a document can be written, and reads back as itself."""

    def target(data: bytes) -> None:
        try:
            made = contract.load(kind, data)
        except ContractError as error:
            one_line(str(error))
            return
        assert contract.load(kind, contract.dump(made).encode()) == made
        for file in files_of(made):
            assert (WORK / "x" / file.path).resolve().is_relative_to((WORK / "x").resolve()), file.path

    return target


def files_of(made: Any) -> tuple[contract.DataFile, ...]:
    """Every file that a document names."""
    if isinstance(made, Spec):
        return made.data.files + (made.model.files if made.model else ())
    return getattr(made, "files", ())


def control(data: bytes) -> None:
    """What the training container leaves, whole or not, gives a verdict that can be written as the run's marker."""
    parts = [*data.split(b"\n---\n"), b"", b"", b"", b""]
    with tempfile.TemporaryDirectory() as name:
        texts = []
        for index, part in enumerate(parts[:4]):
            (Path(name) / str(index)).write_bytes(part)
            texts.append(read(f"{name}/{index}"))
    verdict = diagnose(TrainingExit.parse(texts[0]), _document(StopRequest, texts[1]), _document(Outcome, texts[2]), texts[3])
    marker = Marker(
        "20260101-000000-abcd",
        verdict.reason,
        "2026-01-01T00:00:00Z",
        1,
        verdict.detail,
        hint_code=verdict.hint_code,
        hint_values=verdict.hint_values,
    )
    assert contract.load(Marker, contract.dump(marker)) == marker
    assert marker.command(marker.run).startswith("llmlab "), "no word of a container is a command"
    assert not set(marker.command(marker.run)) & set("$`;|&<>\n\\(){}*?!~"), marker.command(marker.run)


def _document(kind: type[Any], text: str) -> Any:
    try:
        return contract.load(kind, text)
    except ContractError:
        return None


def checkpoint(data: bytes) -> None:
    """A folder is whole only when every byte of it is what `COMPLETE` says, and `COMPLETE` names nothing outside it."""
    complete, _, content = data.partition(b"\n---\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / contract.checkpoint_name(1)
        folder.mkdir()
        (folder / contract.COMPLETE).write_bytes(complete)
        (folder / "weights").write_bytes(content)
        (Path(name) / "outside").write_bytes(content)
        if not checkpoints.why_not_whole(folder):
            named = contract.load(Complete, complete)
            assert all(file.path in {"weights", contract.COMPLETE} for file in named.files), named
            assert all(sha256(folder / file.path) == file.sha256 for file in named.files)


def metrics(data: bytes) -> None:
    """Any lines give objects and charts; what a chart shows is finite."""
    charts = report.training_charts(report.objects(data.decode(errors="replace")))
    for chart in charts:
        if chart is not None:
            assert "nan" not in chart.points
            assert "inf" not in chart.points


def keys(data: bytes) -> None:
    """A key is taken apart into what makes the same key again, or into nothing."""
    text = data.decode(errors="replace")
    run = contract.RunKeys("20260101-000000-abcd")
    number, kind = contract.parse_attempt(text)
    if kind in {"claim", "end"}:
        made = run.attempt(number) if kind == "claim" else run.attempt_end(number)
        assert made.rpartition("/attempts/")[2].lstrip("0") == text.rpartition("/attempts/")[2].lstrip("0")
    step = contract.parse_checkpoint_name(text)
    assert step is None or int(contract.checkpoint_name(step).removeprefix("checkpoint-")) == step
    for parse in (contract.parse_run_id, contract.parse_ended, contract.parse_log_stream_name, contract.parse_timestamp):
        try:
            parse(text)
        except ValueError:
            continue


KINDS: dict[str, type[Any]] = {
    "spec": Spec, "manifest": Manifest, "complete": Complete, "attempt": Attempt, "attempt-end": AttemptEnd, "marker": Marker,
    "status": Heartbeat, "progress": Progress, "request": StopRequest, "outcome": Outcome, "stop": Stop,
}  # fmt: skip
TARGETS: dict[str, Target] = {
    **{name: document(kind) for name, kind in KINDS.items()},
    "control": control, "checkpoint": checkpoint, "metrics": metrics, "keys": keys,
}  # fmt: skip
assert all(dataclasses.is_dataclass(kind) for kind in KINDS.values())
