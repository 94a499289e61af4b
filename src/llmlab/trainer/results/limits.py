"""What a CPU can be asked: known without torch, so that a command can say no before it downloads anything."""

from shlex import quote

from llmlab.errors import LabError

LARGEST_ON_CPU = 3_000_000_000
"""Parameters above which a CPU reads more than 6 GB for each token it says."""


def too_large(model: str, parameters: int, tuned: str) -> LabError:
    """That a CPU is not the place to ask a model of this size."""
    return LabError(
        f"{model} has {parameters / 1e9:.1f} billion parameters, and without a GPU up to {LARGEST_ON_CPU / 1e9:.0f} billion answer in "
        "reasonable time; ask it on a machine that has one",
        f"vllm serve {quote(model)} --enable-lora --lora-modules {quote(f'tuned={tuned}')}",
    )
