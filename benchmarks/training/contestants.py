"""Who takes part, with which settings, and by how much ours must be ahead of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.training.contest import Measured, run_peer
from benchmarks.training.ours import run_ours

OURS = "ours"
PACK = 1024
"""Tokens of a peer's pack; the longest row has 640."""


@dataclass(frozen=True)
class Contestant:
    """`least` is how many times as fast ours must be, by shape. The tuned ones compete for the smallest memory and the best speed."""

    name: str
    home: str = ""
    script: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)
    tuned: bool = False

    def run(self, assets: Path, scratch: Path, peers: Path, epochs: int) -> Measured:
        if not self.home:
            return run_ours(assets, scratch, {**self.settings, "epochs": epochs})
        return run_peer(peers / self.home / "bin" / "python", self.script, assets, scratch, self.settings, epochs)


EVERY = (
    Contestant(OURS),
    Contestant("trl sft, defaults", "trl", "run_trl.py", least={"small": 3, "mid": 5}),
    Contestant(
        "TRL, tuned",
        "trl",
        "run_trl.py",
        {"packing": True, "max_length": PACK, "per_device_train_batch_size": 1, "gradient_checkpointing": False, "dtype": "bfloat16"},
        tuned=True,
    ),
    Contestant("LLaMA-Factory, defaults", "llamafactory", "run_llamafactory.py", least={"small": 3, "mid": 3}),
    Contestant(
        "LLaMA-Factory, tuned",
        "llamafactory",
        "run_llamafactory.py",
        {
            "packing": True,
            "neat_packing": True,
            "cutoff_len": PACK,
            "per_device_train_batch_size": 1,
            "disable_gradient_checkpointing": True,
        },
        tuned=True,
    ),
    Contestant("torchtune, defaults", "torchtune", "run_torchtune.py"),
    Contestant(
        "torchtune, tuned",
        "torchtune",
        "run_torchtune.py",
        {"packed_to": PACK, "batch_size": 1, "accumulate": 1, "checkpointing": False},
        tuned=True,
    ),
    Contestant(
        "bare loop, packed",
        "trl",
        "run_bare.py",
        {"packed_to": PACK, "dtype": "float32"},
        least={"small": 1.35, "mid": 1.35},
    ),
)
BEST_TUNED = 1.25
"""How many times as fast as the fastest tuned peer ours must be."""
