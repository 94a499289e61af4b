"""Do two trainers that are given the same batches see the same losses? Ours and a plain loop on transformers and PEFT, in float32.

A step is the whole data set, so that the order of the rows plays no part, and dropout is off. The first step of a schedule with a warm-up
has the learning rate 0: what ours saves after it is the adapter as it was made, and the plain loop starts from that.
"""

import json
from pathlib import Path

from benchmarks.training import assets, ours
from benchmarks.training.contest import run_peer
from llmlab import contract

ROWS = 16
STEPS = 12
MOST = 1e-3
RECIPE = {
    **ours.RECIPE,
    "precision": "fp32",
    "batch_size": ROWS,
    "accumulate": 1,
    "epochs": STEPS,
    "learning_rate": 2e-3,
    "schedule": "linear",
    "warmup": 0.1,
    "weight_decay": 0.0,
    "save_steps": 1,
    "keep_checkpoints": 100,
    "lora": {**ours.RECIPE["lora"], "dropout": 0.0},
}


def compare(peers: Path, scratch: Path) -> list[str]:
    """Print how far the two curves are apart; the result is what is not met."""
    made = assets.make(peers / "assets", assets.SMALL, ROWS)
    work = ours.work_folder(scratch / "curves", made, "text", RECIPE)
    ours.run(work)
    mine = [row["loss"] for row in ours.metrics(work)]
    settings = {
        "adapter": str(Path(work.checkpoints, contract.checkpoint_name(1))),
        **{name: RECIPE[name] for name in ("learning_rate", "schedule", "warmup")},
        "steps": STEPS,
    }
    plain = run_peer(peers / "trl" / "bin" / "python", "run_plain.py", made, scratch / "plain", settings).losses
    if len(mine) != len(plain):
        return [f"curves: ours has {len(mine)} losses and the plain loop {len(plain)}"]
    apart = max(abs(one - other) for one, other in zip(mine, plain, strict=True))
    print(
        f"\n### loss curves, float32, {STEPS} steps of all {ROWS} rows\n\n"
        f"ours {mine[0]:.4f} to {mine[-1]:.4f}, the plain loop {plain[0]:.4f} to {plain[-1]:.4f}; "
        f"apart at most {apart:.1e} (limit {MOST:.0e})",
        flush=True,
    )
    return [f"curves: the losses are {apart:.1e} apart, at most {MOST:.0e} wanted: {json.dumps([mine, plain])}"] if apart > MOST else []
