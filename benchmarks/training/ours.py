"""Our trainer as a run starts it: `python -m llmlab.trainer` on a work folder, its numbers read from the metrics it leaves."""

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.training.contest import ENVIRONMENT, OURS, Ended, Measured, empty, start
from llmlab import __version__, contract
from llmlab.contract import DataFile, Env, Manifest, Progress, Spec, WorkFolder

RECIPE: dict[str, Any] = {
    "model": "lab:bench",
    "device": "cpu",
    "max_length": 1024,
    "batch_size": 1,
    "accumulate": 8,
    "epochs": 1,
    "learning_rate": 2e-5,
    "precision": "bf16",
    "lora": {"rank": 16, "alpha": 32, "dropout": 0.05, "targets": ["q_proj", "v_proj"]},
}
"""The work that every contestant does: steps of 8 rows as in TRL's and LLaMA-Factory's defaults, packs of 1,024 tokens as the tuned ones.

What is not here is the recipe's default.
"""


def work_folder(root: Path, assets: Path, rows: str, recipe: Mapping[str, Any]) -> WorkFolder:
    """What the agent leaves for the trainer. `rows` names a folder of the assets: `text` has loss on all tokens, `chat` on the answers."""
    empty(root)
    work = WorkFolder(str(root))
    for folder in (work.data, work.control, work.checkpoints, work.output):
        Path(folder).mkdir(parents=True, exist_ok=True)
    Path(work.model).symlink_to((assets / "model").resolve())
    content = (assets / rows / "train.jsonl").read_bytes()
    Path(work.data, "train.jsonl").write_bytes(content)
    file = DataFile("train.jsonl", len(content), hashlib.sha256(content).hexdigest())
    spec = Spec(
        run="20261123-120000-abcd",
        lab="llm-tuning-lab",
        region="us-east-1",
        account="123456789012",
        recipe=dict(recipe),
        data=Manifest("bench", (file,), "2026-11-23T12:00:00Z", {}),
        image="registry/repository@sha256:0",
        ami="ami-0",
        launch_template="lt-0",
        pools=(),
        spot=True,
        max_hours=1,
        created="2026-11-23T12:00:00Z",
        llmlab_version=__version__,
    )
    Path(work.spec).write_text(contract.dump(spec), encoding="utf-8")
    return work


def run(work: WorkFolder, tick: Callable[[float], None] | None = None) -> Ended:
    return start(OURS, Path(work.root) / "log", ENVIRONMENT | {Env.WORK: work.root}, tick)


def metrics(work: WorkFolder) -> list[dict[str, Any]]:
    """The lines of the run's metrics that are of training steps."""
    lines = Path(work.output, contract.METRICS_FILE).read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if "loss" in row]


def run_ours(assets: Path, scratch: Path, settings: Mapping[str, Any]) -> Measured:
    """One training of the same rows as the peers'. A row's first token is nobody's target.

    The seconds run from before the first step to the end of the last, with everything between steps, without the last save.
    """
    recipe = {**RECIPE, **settings}
    work = work_folder(scratch, assets, "text", recipe)
    ended = run(work)
    rows = metrics(work)
    elapsed = contract.load(Progress, Path(work.progress).read_bytes()).seconds
    assert elapsed is not None
    documents = len(json.loads((assets / "tokens.json").read_text(encoding="utf-8"))) * recipe["epochs"]
    tokens = int(rows[-1]["tokens"])
    return Measured(
        seconds=elapsed,
        steps=rows[-1]["step"],
        tokens=tokens,
        targets=tokens - documents,
        **vars(ended),
        gpu_bytes=int((rows[-1].get("memory_gib") or 0) * 2**30),
        losses=tuple(row["loss"] for row in rows),
        versions={"llmlab": __version__, **{name: version(name) for name in ("torch", "transformers", "peft")}},
    )
