"""Work folders as the agent leaves them for the trainer."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmlab import contract
from llmlab.contract import DataFile, Manifest, Outcome, Progress, Spec, WorkFolder
from llmlab.sandbox.examples import FORMATS
from llmlab.sandbox.runbook import questions

RECIPE: dict[str, Any] = {
    "model": "lab:tiny",
    "device": "cpu",
    "max_length": 256,
    "batch_size": 4,
    "accumulate": 1,
    "epochs": 1,
    "learning_rate": 0.003,
    "warmup": 0.0,
    "schedule": "linear",
    "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
}


def make(
    root: Path,
    model: Path,
    rows: Sequence[object] | None = None,
    *,
    recipe: Mapping[str, Any] | None = None,
    form: str = "messages",
    count: int = 16,
    facts: Mapping[str, Any] | None = None,
) -> WorkFolder:
    """A work folder with a spec, one data file and the model."""
    work = WorkFolder(str(root))
    for folder in (work.data, work.control, work.checkpoints, work.output):
        Path(folder).mkdir(parents=True, exist_ok=True)
    if not Path(work.model).exists():
        Path(work.model).symlink_to(model)
    if rows is None:
        asked = questions(5)
        rows = [FORMATS[form](next(asked)) for _ in range(count)]
    content = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()
    Path(work.data, "train.jsonl").write_bytes(content)
    file = DataFile("train.jsonl", len(content), hashlib.sha256(content).hexdigest())
    spec = Spec(
        run="20261123-120000-abcd",
        lab="llm-tuning-lab",
        region="us-east-1",
        account="123456789012",
        recipe={**RECIPE, **(recipe or {})},
        data=Manifest("demo", (file,), "2026-11-23T12:00:00Z", dict(facts or {})),
        image="registry/repository@sha256:0",
        ami="ami-0",
        launch_template="lt-0",
        pools=(),
        spot=True,
        max_hours=1,
        created="2026-11-23T12:00:00Z",
        llmlab_version="0.1.0",
    )
    Path(work.spec).write_text(contract.dump(spec))
    return work


def outcome(work: WorkFolder) -> Outcome:
    return contract.load(Outcome, Path(work.outcome).read_text())


def hint(outcome: Outcome) -> str:
    """The command that whoever reads the outcome makes of it, "" for the one of its reason."""
    return contract.hints.render(outcome.hint_code, outcome.hint_values, "20261123-120000-ab12")


def progress(work: WorkFolder) -> Progress:
    return contract.load(Progress, Path(work.progress).read_text())


def losses(work: WorkFolder) -> list[tuple[int, float, float]]:
    """Step, loss and gradient norm of each trained step of the metrics."""
    lines = Path(work.output, contract.METRICS_FILE).read_text().splitlines()
    return [(row["step"], row["loss"], row["grad_norm"]) for row in map(json.loads, lines) if "loss" in row]


def weights(work: WorkFolder) -> bytes:
    """What came out: an adapter, or a whole model."""
    adapter = Path(work.output, contract.ADAPTER, "adapter_model.safetensors")
    return (adapter if adapter.is_file() else Path(work.output, contract.WHOLE_MODEL, "model.safetensors")).read_bytes()


def evaluated(work: WorkFolder) -> list[tuple[int, float]]:
    """Step and held-out loss of each evaluation."""
    lines = Path(work.output, contract.METRICS_FILE).read_text().splitlines()
    return [(row["step"], row["eval_loss"]) for row in map(json.loads, lines) if "eval_loss" in row]
