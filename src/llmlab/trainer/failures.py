"""Why a training ended: each kind of failure is one exception, and each becomes an `Outcome` and an exit code in one place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmlab.contract import EndReason, StopRequest, TrainerExit
from llmlab.errors import LabError
from llmlab.recipe import Recipe

CODES = {
    EndReason.COMPLETED: TrainerExit.COMPLETED,
    EndReason.DATA_ERROR: TrainerExit.DATA_ERROR,
    EndReason.OUT_OF_MEMORY: TrainerExit.OUT_OF_MEMORY,
    EndReason.SETUP_FAILED: TrainerExit.SETUP_FAILED,
    EndReason.TRAINING_ERROR: TrainerExit.TRAINING_ERROR,
    EndReason.HARDWARE_FAILED: TrainerExit.HARDWARE_FAILED,
}


NO_DETERMINISTIC = "does not have a deterministic implementation"
"""torch's own words: https://github.com/pytorch/pytorch/blob/v2.13.0/aten/src/ATen/Context.cpp, `alertNotDeterministic`."""


class Failed(LabError):
    """A training that cannot go on. `reason` is what the run's marker will carry."""

    reason = EndReason.TRAINING_ERROR


class SetupFailed(Failed):
    """The spec, the recipe, the model or the machine cannot be used."""

    reason = EndReason.SETUP_FAILED


class DataFailed(Failed):
    """The data cannot be trained on as it stands."""

    reason = EndReason.DATA_ERROR


class HardwareFailed(Failed):
    """A GPU that must be there is not, or does not compute: another machine may do."""

    reason = EndReason.HARDWARE_FAILED


class OutOfMemory(Failed):
    reason = EndReason.OUT_OF_MEMORY


class Left(Exception):
    """The trainer was asked to stop and has saved its state, which is no failure."""

    def __init__(self, request: StopRequest) -> None:
        super().__init__(request.reason)
        self.request = request


def of(error: BaseException, recipe: Recipe | None) -> Failed:
    """The `Failed` that describes any exception."""
    if isinstance(error, Failed):
        return error
    if isinstance(error, LabError):
        return SetupFailed(error.message, error.hint)
    if is_out_of_memory(error):
        return out_of_memory(error, recipe)
    if recipe is not None and recipe.deterministic and NO_DETERMINISTIC in str(error):
        operator = str(error).partition(NO_DETERMINISTIC)[0].strip()
        return SetupFailed(
            f"{recipe.model} cannot be trained bit by bit: {operator} has no deterministic form", "llmlab launch --set deterministic=false"
        )
    return Failed(f"{type(error).__name__}: {_first_line(error)}")


@contextmanager
def explained(recipe: Recipe, model: Any, *, checkpointing: bool | None = None) -> Iterator[None]:
    """Context in which an out-of-memory error is raised anew with a breakdown of this model's memory.

    Raises:
        OutOfMemory: the error, explained.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(error, recipe, model, checkpointing=checkpointing) from error


def out_of_memory(error: BaseException, recipe: Recipe | None, model: Any = None, *, checkpointing: bool | None = None) -> OutOfMemory:
    """The out-of-memory failure: the peak, its breakdown where the model is known, and a hint with settings that would fit."""
    from llmlab.trainer import memory

    if recipe is None:
        return OutOfMemory(f"out of memory: {_first_line(error)}")
    usage = memory.use(recipe, model, checkpointing=checkpointing)
    more = memory.asked_for(error)
    words = f"out of memory at {usage.words()}" if usage.words() else "out of memory"
    words += f"; {more} more was asked for" if more else "" if usage.parts else f": {_first_line(error)}"
    shape = memory.shape_of(model) if model is not None else None
    assumed = recipe if checkpointing is None else recipe.model_copy(update={"gradient_checkpointing": checkpointing})
    return OutOfMemory(words, memory.hint(memory.fits(assumed, shape, usage.total, gpu=_is_gpus(error))))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is used up: a class of torch's own on GPUs, the words of CUDA's libraries, or those of a CPU."""
    return isinstance(error, MemoryError) or _is_gpus(error) or "can't allocate memory" in str(error)


GPU_WORDS = (
    "cuda error: out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cuda out of memory",
    "cuda failure 2 ",
)
"""What CUDA, cuBLAS, cuDNN and NCCL say of a GPU without memory, in errors that are not torch's `OutOfMemoryError`, in small letters.

https://docs.nvidia.com/cuda/cublas/index.html#cublasstatus-t, https://github.com/pytorch/pytorch/blob/v2.13.0/c10/cuda/CUDAException.cpp,
https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html: "Cuda failure 2 'out of memory'".
"""


def _is_gpus(error: BaseException) -> bool:
    says = str(error).lower()
    return (
        type(error).__name__ == "OutOfMemoryError"
        or any(words in says for words in GPU_WORDS)
        or ("nccl" in says and "out of memory" in says)
    )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else "no reason given").rstrip(".")
