"""Which models a CPU can run: known without torch, so that a command can refuse before it downloads anything."""

from pathlib import Path

from llmlab.errors import LabError
from llmlab.trainer.export import serving

LARGEST_ON_CPU = 3_000_000_000
"""Parameters above which a CPU reads more than 6 GB for each token that it generates."""


def too_large(model: str, parameters: int, tuned: str, run: str = "latest") -> LabError:
    """The error that a model of this size is too large for a CPU; `tuned` is the folder of a run's adapter or model."""
    return LabError(
        f"{model} has {parameters / 1e9:.1f} billion parameters, and without a GPU up to {LARGEST_ON_CPU / 1e9:.0f} billion answer in "
        "reasonable time; ask it on a machine that has one",
        serving.vllm(model, tuned, serving.config_of(Path(tuned))) or f"llmlab merge {run}",
    )
