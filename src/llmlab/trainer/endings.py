"""Why a training ended: each kind of failure is one exception, and each becomes an `Outcome` and an exit code in one place."""

from llmlab.contract import EndReason, Request, TrainerExit
from llmlab.errors import LabError
from llmlab.recipe import Recipe

CODES = {
    EndReason.COMPLETED: TrainerExit.COMPLETED,
    EndReason.DATA_ERROR: TrainerExit.DATA_ERROR,
    EndReason.OUT_OF_MEMORY: TrainerExit.OUT_OF_MEMORY,
    EndReason.SETUP_FAILED: TrainerExit.SETUP_FAILED,
    EndReason.TRAINING_ERROR: TrainerExit.TRAINING_ERROR,
}


class Failed(LabError):
    """A training that cannot go on. `reason` is what the run's marker will carry."""

    reason = EndReason.TRAINING_ERROR


class SetupFailed(Failed):
    """The spec, the recipe, the model or the machine cannot be used."""

    reason = EndReason.SETUP_FAILED


class DataFailed(Failed):
    """The data cannot be trained on as it stands."""

    reason = EndReason.DATA_ERROR


class OutOfMemory(Failed):
    reason = EndReason.OUT_OF_MEMORY


class Left(Exception):
    """Not a failure: somebody asked, and everything up to `step` is saved."""

    def __init__(self, request: Request) -> None:
        super().__init__(request.reason)
        self.request = request


def of(error: BaseException, recipe: Recipe | None) -> Failed:
    """Any exception as the failure it stands for."""
    if isinstance(error, Failed):
        return error
    if isinstance(error, LabError):
        return SetupFailed(error.message, error.hint)
    if _is_out_of_memory(error):
        return OutOfMemory(f"out of memory{_peak()}: {_first_line(error)}", _smaller(recipe))
    return Failed(f"{type(error).__name__}: {_first_line(error)}")


def _is_out_of_memory(error: BaseException) -> bool:
    """By a class of torch's own on GPUs, in words on a CPU."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


def _peak() -> str:
    import torch

    if not torch.cuda.is_available():
        return ""
    device = torch.cuda.get_device_properties(0)
    return f" at {torch.cuda.max_memory_allocated() / 2**30:.1f} of {device.total_memory / 2**30:.1f} GiB"


def _smaller(recipe: Recipe | None) -> str:
    """The setting that takes less memory and gives the same optimizer steps, or shorter examples when there is none."""
    if recipe is None:
        return ""
    if recipe.batch_size > 1:
        half = recipe.batch_size // 2
        return f"llmlab launch --set batch_size={half} --set accumulate={recipe.step_examples // half}"
    if recipe.gradient_checkpointing is False:
        return "llmlab launch --set gradient_checkpointing=true"
    if recipe.method == "lora":
        return "llmlab launch --set method=qlora"
    return f"llmlab launch --set max_length={max(8, recipe.max_length // 2)}"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else "no reason given").rstrip(".")
