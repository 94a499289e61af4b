"""Loads the base model and its tokenizer, and sets threads, checkpointing and compilation; each choice is logged with its reason."""

from pathlib import Path
from typing import Any

from llmlab import footprint
from llmlab.contract import WorkFolder
from llmlab.recipe import Recipe
from llmlab.trainer import memory
from llmlab.trainer.device import Device, Say
from llmlab.trainer.failures import SetupFailed
from llmlab.trainer.model import added_tokens
from llmlab.trainer.model.stop_tokens import stop_there

SMALL = 5_000_000
"""Parameters under which a second thread costs more than it brings: 0.6 million took 14.2 s on two threads and 9.0 s on one."""


def load_tokenizer(recipe: Recipe, work: WorkFolder) -> Any:
    """The model's tokenizer, with the recipe's template and tokens.

    Raises:
        SetupFailed: there is none, it cannot be read, or the recipe does not teach what it adds.
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
    if recipe.chat_template and not recipe.chat_template.text:
        raise SetupFailed(f"the run has no text of {recipe.whose_template}", "llmlab launch --set chat_template=null")
    if recipe.chat_template:
        tokenizer.chat_template = recipe.chat_template.text
    if recipe.additional_special_tokens:
        added_tokens.add_to(tokenizer, recipe)
    return tokenizer


def load_model(recipe: Recipe, work: WorkFolder, device: Device, tokenizer: Any, resumed: Path | None = None) -> Any:
    """Load the base model, every weight from its files; in a full training that resumes, from the checkpoint.

    Trainable weights are held in 32 bits, else a bf16 step of the optimizer would be lost in rounding; a frozen base is in `device.dtype`.

    Raises:
        SetupFailed: files are missing or damaged, or the tokenizer has more tokens than the model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    dtype = torch.float32 if recipe.method == "full" else getattr(torch, device.dtype)
    options: dict[str, Any] = {"dtype": dtype, "revision": recipe.revision}
    if recipe.method == "qlora":
        options |= {"quantization_config": _four_bits(device), "device_map": {"": device.name}}
    place = str(resumed) if resumed and recipe.method == "full" else source(recipe, work)
    if recipe.method == "qlora":
        _check_experts(recipe, place)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(place, output_loading_info=True, **options)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:
        raise _unusable(recipe, "it cannot be loaded", error) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise SetupFailed(
            f"the files of the model {recipe.model} lack {len(missing)} of its weights, such as {missing[0]}", another(recipe)
        )
    rows = model.get_input_embeddings().weight.shape[0]
    beyond = len(tokenizer) - rows
    if beyond > len(recipe.additional_special_tokens):
        raise SetupFailed(f"the tokenizer of {recipe.model} has {len(tokenizer)} tokens and its model only {rows}", another(recipe))
    if beyond > 0:
        added_tokens.check_learned(model, recipe)
        added_tokens.widen(model, tokenizer)
    if recipe.method == "qlora" and device.name == "cpu":
        _keep_layout(model)
    stop_there(model, tokenizer)
    model.config.use_cache = False
    model.train()
    return model


def _keep_layout(model: Any) -> None:
    """Evaluate over the same 4-bit weights as train.

    On a CPU with bf16 instructions, bitsandbytes lays a matrix out anew in the first evaluation, with its scales rounded to 16 bits, and
    fails where rows are no multiple of 32: bitsandbytes 0.50, nn/modules.py, `Linear4bit.forward`.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _check_experts(recipe: Recipe, place: str) -> None:
    """Check that no part of the model stays in 16 bits by surprise.

    Raises:
        SetupFailed: it has experts.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(place, revision=recipe.revision).to_dict()
    except Exception as error:
        raise _unusable(recipe, "it cannot be loaded", error) from error
    if footprint.experts(config) > 1:
        raise SetupFailed(footprint.EXPERTS_IN_16_BITS.format(model=recipe.model), "llmlab launch --set method=lora")


def set_threads(model: Any, device: Device, say: Say) -> None:
    """Set the number of threads, which on a CPU depends on the model."""
    import torch

    parameters = sum(parameter.numel() for parameter in model.parameters())
    if device.name == "cpu" and parameters < SMALL and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        say(f"threads: 1, because a model of {parameters / 1e6:.1f} million parameters is too small to share")


def causal(model: Any) -> Any:
    """The transformers model, with or without an adapter around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def decoder(model: Any) -> Any:
    """The model without its head. Llama 4's prefix is that of the model with eyes, which the text model is a part of."""
    return getattr(model, model.base_model_prefix, None) or model.model


def speed_up(model: Any, recipe: Recipe, device: Device, say: Say) -> bool:
    """Activation checkpointing and compilation, where they help; returns whether the former is on.

    Raises:
        SetupFailed: the recipe asks for what the model's class does not have.
    """
    inner = causal(model)
    if not inner.supports_gradient_checkpointing:
        if recipe.gradient_checkpointing is True:
            raise SetupFailed(f"the model {recipe.model} cannot recompute activations", "llmlab launch --set gradient_checkpointing=auto")
        checkpointing, reason = False, "the model cannot recompute activations"
    elif recipe.gradient_checkpointing == "auto":
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        size = 4 if device.dtype == "float32" else 2
        checkpointing, reason = memory.auto_checkpointing(inner.config, recipe, memory.free(), kind=size, trained=trained)
    else:
        checkpointing, reason = recipe.gradient_checkpointing, "asked for"
    if checkpointing:
        inner.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    say(f"gradient checkpointing: {'on' if checkpointing else 'off'}, {reason}")
    if recipe.compile is True:
        for layer in decoder(inner).layers:
            layer.compile(dynamic=True)
    say(f"compile: {'on' if recipe.compile is True else 'off'}, {'not measured to win' if recipe.compile == 'auto' else 'asked for'}")
    return checkpointing


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
        raise SetupFailed(f"the model {recipe.model} has no config.json", another(recipe))
    return str(folder)


def _four_bits(device: Device) -> Any:
    """NF4 with double quantisation, computed in the device's number format (Dettmers et al. 2023, arXiv 2305.14314)."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, device.dtype),
    )


def _unusable(recipe: Recipe, what: str, error: Exception) -> SetupFailed:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return SetupFailed(f"the model {recipe.model} cannot be used, {what}: {reason.rstrip('.')}", another(recipe))


def another(recipe: Recipe) -> str:
    """The hint for a model that cannot be used."""
    if recipe.lab_model:
        return f"llmlab upload MODEL_FOLDER --model {recipe.lab_model}"
    return "llmlab launch --set model=Qwen/Qwen2.5-1.5B-Instruct"
