"""The base model, its tokenizer, and what is put on it; each choice comes with its reason."""

from pathlib import Path
from typing import Any

from llmlab import footprint
from llmlab.contract import WorkFolder
from llmlab.recipe import Recipe
from llmlab.trainer import memory
from llmlab.trainer.endings import SetupFailed
from llmlab.trainer.machine import Machine, Say

SMALL = 5_000_000
"""Parameters under which a second thread costs more than it brings: 0.6 million took 14.2 s on two threads and 9.0 s on one."""

PLAIN = {"Linear", "Linear4bit"}
"""torch's own class of a matrix, and bitsandbytes' of one in 4 bits."""
EXPERTS_DIMENSIONS = 3
MAMBA = {"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"}
UNADAPTED = {"out_proj"}
"""What PEFT refuses to adapt in models of these types: `_check_lora_target_modules_mamba` of peft 0.21, tuners/tuners_utils.py."""

ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""PEFT's name for them."""


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
    if recipe.chat_template and not recipe.chat_template.text:
        raise SetupFailed(f"the run has no text of {recipe.whose_template}", "llmlab launch --set chat_template=null")
    if recipe.chat_template:
        tokenizer.chat_template = recipe.chat_template.text
    return tokenizer


def load_model(recipe: Recipe, work: WorkFolder, machine: Machine, tokenizer: Any, resumed: Path | None = None) -> Any:
    """The base model, every weight of it from the files; of a full training that goes on, the weights of its checkpoint.

    What learns is held in 32 bits, else a bf16 step of the optimizer would be lost in rounding; a frozen base is in the machine's type.

    Raises:
        SetupFailed: files are missing or damaged, or the tokenizer has more tokens than the model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    dtype = torch.float32 if recipe.method == "full" else getattr(torch, machine.dtype)
    options: dict[str, Any] = {"dtype": dtype, "revision": recipe.revision}
    if recipe.method == "qlora":
        options |= {"quantization_config": _four_bits(machine), "device_map": {"": machine.device}}
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
    if len(tokenizer) > rows:
        raise SetupFailed(f"the tokenizer of {recipe.model} has {len(tokenizer)} tokens and its model only {rows}", another(recipe))
    if recipe.method == "qlora" and machine.device == "cpu":
        _keep_layout(model)
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
    """That no part of the model stays in 16 bits by surprise.

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


def share(model: Any, machine: Machine, say: Say) -> None:
    """Set the number of threads, which on a CPU depends on the model."""
    import torch

    parameters = sum(one.numel() for one in model.parameters())
    if machine.device == "cpu" and parameters < SMALL and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        say(f"threads: 1, because a model of {parameters / 1e6:.1f} million parameters is too small to share")


def adapt(model: Any, recipe: Recipe, resumed: Path | None, say: Say) -> Any:
    """The model with what will learn: an adapter put on it, new or from a checkpoint, or all of its own weights.

    The base model is recorded by the name its user knows.

    Raises:
        SetupFailed: the recipe's targets are not in the model.
    """
    import torch
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer
    from safetensors.torch import load_file

    if recipe.method == "full":
        say(f"full training: all {model.num_parameters():,} parameters")
        return model
    torch.manual_seed(recipe.seed)
    targets = recipe.lora.targets
    left = left_alone(model)
    config = LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        target_parameters=parameters_meant(model, recipe),
        use_rslora=recipe.lora.rslora,
        use_dora=recipe.lora.dora,
        exclude_modules=sorted(left) or None,
        task_type="CAUSAL_LM",
    )
    try:
        model = get_peft_model(model, config)
    except ValueError as error:
        # PEFT adapts the experts of a mixture as parameters, for which it has no dropout; the targets are not at fault then
        mends = "method=full" if targets == "all-linear" else "lora.targets=all-linear"
        mends = "lora.dropout=0" if "lora_dropout" in str(error) else mends
        words = str(error).splitlines()[0].split(". ")[0].rstrip(".")
        raise SetupFailed(f"the recipe does not fit the model: {words}", f"llmlab launch --set {mends}") from error
    model.peft_config["default"].base_model_name_or_path = recipe.model
    model.peft_config["default"].revision = None if recipe.lab_model else recipe.revision
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False  # autocast rounds the adapter's weights; PEFT would widen every activation instead
    if resumed:
        set_peft_model_state_dict(model, load_file(resumed / ADAPTER_WEIGHTS))
    trainable, every = model.get_nb_trainable_parameters()
    say(f"adapter: rank {recipe.lora.rank}, {trainable:,} of {every:,} parameters trained")
    if left:
        kinds = ", ".join(sorted(set(left.values())))
        say(f"adapter: none on {len(left)} matrices that are not plain ones of the language model ({kinds})")
    if recipe.lora.target_parameters:
        say(f"adapter: also on {', '.join(recipe.lora.target_parameters)}")
    if experts := _bare_experts(model):
        say(f"adapter: none on the experts of {experts} layers, which stay as they are")
    return model


def parameters_meant(model: Any, recipe: Recipe) -> list[str] | None:
    """The parameters beside modules that get an adapter, as PEFT takes them; None for none.

    Raises:
        SetupFailed: the model has no such parameter.
    """
    ends = recipe.lora.target_parameters
    names = [name for name, parameter in model.named_parameters() if parameter.ndim > 1]
    for end in ends:
        if not any(f".{name}".endswith(f".{end}") for name in names):
            stacked = sorted({_end(name) for name, parameter in model.named_parameters() if parameter.ndim == EXPERTS_DIMENSIONS})
            has = f"its experts are {', '.join(stacked)}" if stacked else "it holds no experts as parameters"
            mends = f"[{','.join(stacked)}]"
            raise SetupFailed(
                f"the model {recipe.model} has no parameter {end}: {has}", f"llmlab launch --set lora.target_parameters={mends}"
            )
    return list(ends) or None


def _end(name: str) -> str:
    """A parameter's name within its layer: `mlp.experts.down_proj` of `model.layers.0.mlp.experts.down_proj`."""
    parts = name.split(".")
    return ".".join(parts[1 + max((at for at, part in enumerate(parts) if part.isdigit()), default=-1) :])


def left_alone(model: Any) -> dict[str, str]:
    """The matrices that get no adapter, by name, and what they are: those outside the language model, and those of a kind of their own.

    A router may be an `nn.Linear` that returns several tensors, which an adapter's forward cannot; a tower of vision or sound is not used
    by training on text, and servers refuse adapters on it: https://docs.vllm.ai/en/latest/features/lora/.
    """
    from torch import nn

    language = {id(module) for module in model.get_decoder().modules()}
    left = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or module is model.get_output_embeddings():
            continue
        if id(module) not in language:
            left[name] = next(part for part in name.split(".") if part != model.base_model_prefix)
        elif type(module).__name__ not in PLAIN and not _is_matrix(module):
            left[name] = type(module).__name__
        elif model.config.model_type in MAMBA and name.rpartition(".")[2] in UNADAPTED:
            left[name] = "a state space's out_proj"
    return left


def _is_matrix(module: Any) -> bool:
    """Whether a class of a model's own does what `nn.Linear` does: Falcon's does, a router gives several tensors."""
    import torch

    x = torch.ones(1, module.in_features, dtype=module.weight.dtype, device=module.weight.device)
    try:
        with torch.no_grad():
            made = module(x)
            return isinstance(made, torch.Tensor) and torch.equal(made, torch.nn.functional.linear(x, module.weight, module.bias))
    except (RuntimeError, TypeError, ValueError, IndexError):
        return False


def _bare_experts(model: Any) -> int:
    """How many layers hold experts, as parameters of three dimensions, on which there is no adapter."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, BaseTunerLayer))
    return sum(not f"{name}.".startswith(adapted or ("\0",)) for name, module in model.named_modules() if holds_experts(module))


def holds_experts(module: Any) -> bool:
    """Whether a module has parameters of three dimensions, matrices behind each other; a convolution's are none."""
    from torch.nn.modules.conv import _ConvNd

    return not isinstance(module, _ConvNd) and any(parameter.ndim == EXPERTS_DIMENSIONS for parameter in module.parameters(recurse=False))


def causal(model: Any) -> Any:
    """The transformers model, with or without an adapter around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def decoder(model: Any) -> Any:
    """The model without its head. Llama 4's prefix is that of the model with eyes, which the text model is a part of."""
    return getattr(model, model.base_model_prefix, None) or model.model


def speed_up(model: Any, recipe: Recipe, machine: Machine, say: Say) -> bool:
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
        trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
        size = 4 if machine.dtype == "float32" else 2
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
    return SetupFailed(f"the model {recipe.model} cannot be used, {what}: {reason.rstrip('.')}", another(recipe))


def another(recipe: Recipe) -> str:
    """The hint for a model that cannot be used."""
    if recipe.lab_model:
        return f"llmlab upload MODEL_FOLDER --model {recipe.lab_model}"
    return "llmlab launch --set model=Qwen/Qwen2.5-1.5B-Instruct"
