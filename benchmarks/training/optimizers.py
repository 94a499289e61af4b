"""AdamW with moments in 32 bits (torch's) and in 8 (bitsandbytes'): the same full training with each, over the same rows in the same order.

What 8 bits must not cost is the training: the held-out loss at its end. What they must give is memory: the moments as a checkpoint keeps
them. The seconds of the optimizer's move are shown.
"""

import json
import statistics
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from benchmarks.training import assets, ours
from llmlab import contract
from llmlab.footprint import MOMENTS
from llmlab.trainer.training.async_checkpoint import OPTIMIZER

ROWS = 32
RECIPE = {
    **ours.RECIPE,
    "method": "full",
    "lora": {},
    "precision": "fp32",
    "max_length": 256,
    "epochs": 3,
    "learning_rate": 5e-4,
    "evaluation": {"share": 0.125},
}
MOST = 1.02
"""Of the held-out loss in 32 bits."""


def compare(peers: Path, scratch: Path) -> list[str]:
    """Print both; the result is what is not met."""
    made = assets.make(peers / "assets", assets.SMALL, ROWS)
    rows = {kind: _trained(kind, made, scratch) for kind in ("adamw", "adamw_8bit")}
    print(f"\n### optimizers, full training of {ROWS} rows, {RECIPE['epochs']} epochs, float32\n")
    print("| optimizer | held-out loss, first and last | moments in a checkpoint | optimizer's share of a step |\n|---|---|---|---|")
    for kind, row in rows.items():
        print(f"| {kind} | {row['first']:.4f} to {row['last']:.4f} | {row['bytes'] / 2**20:.1f} MiB | {row['share']:.3f} |", flush=True)
    apart = rows["adamw_8bit"]["last"] / rows["adamw"]["last"]
    memory = rows["adamw_8bit"]["bytes"] / rows["adamw"]["bytes"]
    counted = MOMENTS["adamw_8bit"] / MOMENTS["adamw"]
    print(f"\nheld-out loss {apart:.4f} of that in 32 bits (limit {MOST}), moments {memory:.3f} of theirs ({counted:.3f} counted)")
    unmet = [f"optimizers: the held-out loss in 8 bits is {apart:.4f} of that in 32, at most {MOST} wanted"] if apart > MOST else []
    if memory > 1.1 * counted:
        unmet.append(f"optimizers: the moments in 8 bits take {memory:.3f} of those in 32, {counted:.3f} counted")
    return unmet


def _trained(kind: str, made: Path, scratch: Path) -> dict[str, Any]:
    work = ours.work_folder(scratch / f"optimizer-{kind}", made, "text", {**RECIPE, "optimizer": kind})
    ours.run(work)
    lines = Path(work.output, contract.METRICS_FILE).read_text(encoding="utf-8").splitlines()
    metrics = [json.loads(line) for line in lines]
    held_out = [row["eval_loss"] for row in metrics if "eval_loss" in row]
    steps = [row for row in metrics if "loss" in row]
    *_, kept = sorted(Path(work.checkpoints).glob(f"*/{OPTIMIZER}"))
    size = sum(moment.nbytes for moment in load_file(kept).values())
    return {
        "first": held_out[0],
        "last": held_out[-1],
        "bytes": size,
        "share": statistics.median(row["seconds_by_phase"]["optimizer"] / row["seconds"] for row in steps),
    }
