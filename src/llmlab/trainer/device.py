"""The device and number format to train in, and the libraries' environment variables; each choice is logged with its reason."""

import logging
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llmlab.recipe import Recipe
from llmlab.trainer.failures import SetupFailed

AMPERE = 8
"""The first compute capability with bf16 (CUDA C programming guide, table of arithmetic instructions)."""
QUANTIZED = '"quantization_config"'
"""Key in the config.json of a model whose weights are quantized. https://huggingface.co/docs/transformers/main_classes/quantization"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Device:
    """The device of a training, `cpu` or `cuda:N`, and the number format it computes in. Trainable weights are always held in 32 bits."""

    name: str
    dtype: str

    @property
    def kind(self) -> str:
        """`cpu` or `cuda`."""
        return self.name.partition(":")[0]

    def autocast(self, place: str = "") -> AbstractContextManager[Any]:
        """Context that computes in `dtype`, on this device or another; in 32 bits it changes nothing."""
        import torch

        if self.dtype == "float32":
            return nullcontext()
        return torch.autocast((place or self.name).partition(":")[0], dtype=getattr(torch, self.dtype))


def prepare() -> None:
    """Set the environment variables that the libraries read when they are imported.

    OpenMP's threads spin for about a tenth of a millisecond while they wait, and then sleep. On a machine with other work, the agent's
    say, spinning on made small models up to twenty times slower; sleeping at once made a training on two quiet cores take 1.4 to 1.7 times
    as long, because a step is thousands of short products.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "100000")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)  # it warns of a kernel for answers that it looks for online


@cache
def has_amx() -> bool:
    """Whether the processor multiplies matrices in 16 bits by tiles (AMX), several times as fast as others."""
    import torch

    return bool(torch.cpu._is_amx_tile_supported())  # noqa: SLF001 - it has no public name


def offline(recipe: Recipe) -> None:
    """An uploaded model needs no network, and asking for one would only cost time. The hub's library reads this when it is imported."""
    if recipe.lab_model:
        os.environ["HF_HUB_OFFLINE"] = "1"


def determine(recipe: Recipe, say: Say) -> None:
    """Set torch's deterministic mode as the recipe says; cuBLAS reads the form of its workspace at its first product.

    https://docs.pytorch.org/docs/2.13/generated/torch.use_deterministic_algorithms.html,
    https://docs.nvidia.com/cuda/cublas/index.html#results-reproducibility
    """
    if recipe.deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    import torch

    torch.use_deterministic_algorithms(recipe.deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing here reads what it has not written
    if recipe.deterministic:
        say("deterministic: on, the same bits again on the same type and number of GPUs, and slower")


def need_bitsandbytes(what: str, hint: str) -> None:
    """Check that bitsandbytes, which `what` in a recipe needs, is installed.

    Raises:
        SetupFailed: it is not installed; the hint does without.
    """
    if not find_spec("bitsandbytes"):
        raise SetupFailed(f"{what} needs the package bitsandbytes, which is not installed", hint)


def spare_bitsandbytes(recipe: Recipe, config: Path) -> None:
    """Where nothing uses bitsandbytes, let PEFT take it for not installed. `config` is the base model's config.json.

    PEFT 0.21 imports it wherever it can, and with it torch's compiler: a fifth of the processor time from a start to the first step of a
    small training. For a process that trains once, because PEFT remembers what it has found.
    https://docs.python.org/3/library/sys.html#sys.modules
    """
    try:
        quantized = QUANTIZED in config.read_text(encoding="utf-8")
    except (OSError, ValueError):
        quantized = True  # a model of the hub may be
    if not quantized and recipe.method != "qlora" and recipe.optimizer == "adamw":
        sys.modules.setdefault("bitsandbytes", None)  # type: ignore[arg-type]


def choose(recipe: Recipe, device: str, say: Say) -> Device:
    """Choose the number format for a device.

    Raises:
        SetupFailed: the recipe asks for what this machine cannot do.
    """
    import torch

    if recipe.method == "qlora":
        need_bitsandbytes("method qlora", "llmlab launch --set method=lora")
    if device == "cpu":
        why = "as the recipe says" if recipe.device == "cpu" else "which stands in for a GPU"
        say(f"device: CPU with {torch.get_num_threads()} threads, {why}")
        dtype = {"auto": "float32", "fp32": "float32", "bf16": "bfloat16"}.get(recipe.precision)
        if dtype is None:
            raise SetupFailed("precision fp16 needs a GPU: its gradients are scaled there", "llmlab launch --set precision=auto")
        say(f"{dtype}: {'asked for' if recipe.precision != 'auto' else 'exact, and not every CPU gains from less'}")
        return Device(device, dtype)
    major, minor = torch.cuda.get_device_capability(device)
    count = torch.cuda.device_count()
    memory = torch.cuda.get_device_properties(device).total_memory / 2**30
    say(f"device: {f'{count} x ' if count > 1 else ''}{torch.cuda.get_device_name(device)}, SM {major}.{minor}, {memory:.0f} GiB")
    has_bf16 = major >= AMPERE
    if recipe.precision == "bf16" and not has_bf16:
        raise SetupFailed(f"precision bf16 needs SM 8.0, and this GPU is SM {major}.{minor}", "llmlab launch --set precision=fp16")
    requested = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}.get(recipe.precision)
    dtype = requested or ("bfloat16" if has_bf16 else "float16")
    say(f"{dtype}: {'asked for' if requested else f'SM {major}.{minor} ' + ('has bf16' if has_bf16 else 'has no bf16')}")
    return Device(device, dtype)
