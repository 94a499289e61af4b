"""The base model, its tokenizer, and what the machine is good for; each choice comes with its reason."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmlab.contract import WorkFolder
from llmlab.recipe import Recipe
from llmlab.trainer.endings import SetupFailed

SMALL = 5_000_000
"""Parameters under which a second thread costs more than it brings: 0.6 million took 14.2 s on two threads and 9.0 s on one."""
AMPERE = 8
"""The first compute capability with bf16 (CUDA C programming guide, table of arithmetic instructions)."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Machine:
    """What training runs on. `dtype` names the weights' type, and autocast's where it is not float32."""

    device: str
    dtype: str
    checkpointing: bool


def prepare(recipe: Recipe) -> None:
    """Environment that the libraries read when they are imported.

    An uploaded model needs no network, and asking for one would only cost time. OpenMP's threads sleep while they wait instead of
    spinning: on a machine with other work, the agent's say, spinning made small models up to twenty times slower.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    if recipe.lab_model:
        os.environ["HF_HUB_OFFLINE"] = "1"


def choose(recipe: Recipe, say: Say) -> Machine:
    """The device and number format.

    Raises:
        SetupFailed: the recipe asks for what this machine cannot do.
    """
    import torch

    if not torch.cuda.is_available():
        say(f"device: CPU with {torch.get_num_threads()} threads, because no GPU is visible")
        if recipe.method == "qlora":
            raise SetupFailed(
                "method qlora needs a GPU, and none is visible: its 4-bit kernels are CUDA's", "llmlab launch --set method=lora"
            )
        dtype = {"auto": "float32", "fp32": "float32", "bf16": "bfloat16"}.get(recipe.precision)
        if dtype is None:
            raise SetupFailed("precision fp16 needs a GPU: its gradients are scaled there", "llmlab launch --set precision=auto")
        say(f"{dtype}: {'asked for' if recipe.precision != 'auto' else 'exact, and a CPU gains little from less'}")
        return Machine("cpu", dtype, checkpointing=recipe.gradient_checkpointing is True)
    major, minor = torch.cuda.get_device_capability()
    say(f"device: {torch.cuda.get_device_name()}, SM {major}.{minor}, {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB")
    has_bf16 = major >= AMPERE
    if recipe.precision == "bf16" and not has_bf16:
        raise SetupFailed(f"precision bf16 needs SM 8.0, and this GPU is SM {major}.{minor}", "llmlab launch --set precision=fp16")
    asked = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}.get(recipe.precision)
    dtype = asked or ("bfloat16" if has_bf16 else "float16")
    say(f"{dtype}: {'asked for' if asked else f'SM {major}.{minor} ' + ('has bf16' if has_bf16 else 'has no bf16')}")
    checkpointing = recipe.gradient_checkpointing is not False
    reason = "GPU memory first" if recipe.gradient_checkpointing == "auto" else "asked for"
    say(f"gradient checkpointing: {'on' if checkpointing else 'off'}, {reason}")
    return Machine("cuda", dtype, checkpointing)


def load_tokenizer(recipe: Recipe, work: WorkFolder) -> Any:
    """The model's tokenizer.

    Raises:
        SetupFailed: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    place = source(recipe, work)
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, revision=recipe.revision)
    except Exception as error:
        raise _unusable(recipe, "its tokenizer cannot be loaded", error) from error
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise SetupFailed(f"the tokenizer of {recipe.model} has neither a padding nor an end token")
        tokenizer.pad_token = tokenizer.eos_token  # labels are our own, so the end of an answer still carries loss
    return tokenizer


def load_model(recipe: Recipe, work: WorkFolder, machine: Machine, tokenizer: Any) -> Any:
    """The base model, every weight of it from the files.

    Raises:
        SetupFailed: files are missing or damaged, or the tokenizer has more tokens than the model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"dtype": getattr(torch, machine.dtype), "attn_implementation": "sdpa", "revision": recipe.revision}
    if recipe.method == "qlora":
        options |= {"quantization_config": _four_bits(machine), "device_map": {"": 0}}
    try:
        model, report = AutoModelForCausalLM.from_pretrained(source(recipe, work), output_loading_info=True, **options)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:
        raise _unusable(recipe, "it cannot be loaded", error) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise SetupFailed(
            f"the files of the model {recipe.model} lack {len(missing)} of its weights, such as {missing[0]}", _upload(recipe)
        )
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise SetupFailed(f"the tokenizer of {recipe.model} has {len(tokenizer)} tokens and its model only {rows}", _upload(recipe))
    model.config.use_cache = False
    return model


def share(model: Any, machine: Machine, say: Say) -> None:
    """Set the number of threads, which on a CPU depends on the model."""
    import torch

    parameters = sum(one.numel() for one in model.parameters())
    if machine.device == "cpu" and parameters < SMALL and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        say(f"threads: 1, because a model of {parameters / 1e6:.1f} million parameters is too small to share")


def adapter(recipe: Recipe) -> Any:
    """PEFT's configuration of the recipe's adapter. The base model is recorded by the name its user knows."""
    from peft import LoraConfig

    targets = recipe.lora.targets
    return LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )


def source(recipe: Recipe, work: WorkFolder) -> str:
    """Where the model's files come from: the work folder, which the agent also fills with a gated model, or Hugging Face.

    Raises:
        SetupFailed: the uploaded model is not there.
    """
    folder = Path(work.model)
    here = (folder / "config.json").is_file()
    if not recipe.lab_model:
        return str(folder) if here else recipe.model
    if not here:
        raise SetupFailed(f"the model {recipe.model} has no config.json", _upload(recipe))
    return str(folder)


def _four_bits(machine: Machine) -> Any:
    """NF4 with double quantisation, computed in the machine's own type (Dettmers et al. 2023, arXiv 2305.14314)."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, machine.dtype),
    )


def _unusable(recipe: Recipe, what: str, error: Exception) -> SetupFailed:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return SetupFailed(f"the model {recipe.model} cannot be used, {what}: {reason.rstrip('.')}", _upload(recipe))


def _upload(recipe: Recipe) -> str:
    if recipe.lab_model:
        return f"llmlab upload MODEL_FOLDER --model {recipe.lab_model}"
    return "llmlab launch --set model=Qwen/Qwen2.5-1.5B-Instruct"
