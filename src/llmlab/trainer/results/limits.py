"""What a CPU can be asked: known without torch, so that a command can say no before it downloads anything."""

from pathlib import Path

from llmlab.errors import LabError
from llmlab.trainer.results import serving

LARGEST_ON_CPU = 3_000_000_000
"""Parameters above which a CPU reads more than 6 GB for each token it says."""


def too_large(model: str, parameters: int, tuned: str, run: str = "latest") -> LabError:
    """That a CPU is not the place to ask a model of this size; `tuned` is the folder of what a run made of it."""
    return LabError(
        f"{model} has {parameters / 1e9:.1f} billion parameters, and without a GPU up to {LARGEST_ON_CPU / 1e9:.0f} billion answer in "
        "reasonable time; ask it on a machine that has one",
        serving.vllm(model, tuned, serving.config_of(Path(tuned))) or f"llmlab merge {run}",
    )
