"""Makes a model trainable: an adapter of PEFT's is put on it, or all of its own weights are trained."""

from pathlib import Path
from typing import Any

from llmlab.recipe import Recipe
from llmlab.recipe.adapters import whole
from llmlab.trainer.device import Say
from llmlab.trainer.failures import SetupFailed

PLAIN = {"Linear", "Linear4bit"}
"""torch's own class of a matrix, and bitsandbytes' of one in 4 bits."""
EXPERTS_DIMENSIONS = 3
MAMBA = {"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"}
UNADAPTED = {"out_proj"}
"""What PEFT refuses to adapt in models of these types: `_check_lora_target_modules_mamba` of peft 0.21, tuners/tuners_utils.py."""

ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""PEFT's name of the file of an adapter's weights."""


def adapt(model: Any, recipe: Recipe, resumed: Path | None, say: Say) -> Any:
    """The model ready for training: with an adapter, new or from a checkpoint, or with all of its own weights.

    The base model is recorded by the name its user knows.

    Raises:
        SetupFailed: the recipe's targets are not in the model.
    """
    import torch
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper
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
        modules_to_save=modules_meant(model, recipe),
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
        elif isinstance(module, ModulesToSaveWrapper):
            _learn_in_32_bits(module)
    if resumed:
        set_peft_model_state_dict(model, load_file(resumed / ADAPTER_WEIGHTS))
    trainable, every = model.get_nb_trainable_parameters()
    say(f"adapter: rank {recipe.lora.rank}, {trainable:,} of {every:,} parameters trained")
    if left:
        kinds = ", ".join(sorted(set(left.values())))
        say(f"adapter: none on {len(left)} matrices that are not plain ones of the language model ({kinds})")
    if recipe.lora.target_parameters:
        say(f"adapter: also on {', '.join(recipe.lora.target_parameters)}")
    if recipe.lora.modules_to_save:
        say(f"adapter: beside it the whole of {', '.join(recipe.lora.modules_to_save)}")
    if experts := _bare_experts(model):
        say(f"adapter: none on the experts of {experts} layers, which stay as they are")
    return model


def parameters_meant(model: Any, recipe: Recipe) -> list[str] | None:
    """The recipe's `target_parameters`, which get an adapter beside the modules, as PEFT takes them; None for none.

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


def modules_meant(model: Any, recipe: Recipe) -> list[str] | None:
    """The recipe's `modules_to_save`, which are trained whole, as PEFT takes them; None for none.

    Raises:
        SetupFailed: the model has no such module, or holds it in 4 bits.
    """
    for wanted in recipe.lora.modules_to_save:
        kinds = {type(module).__name__ for name, module in model.named_modules() if f".{name}".endswith(f".{wanted}")}
        if not kinds:
            has = embeddings_and_head(model)
            words = f"the model {recipe.model} has no module {wanted}: its embeddings and its head are {' and '.join(has)}"
            raise SetupFailed(words, f"llmlab launch --set {whole(has)}")
        if "Linear4bit" in kinds:
            words = f"{wanted} cannot be trained whole in 4 bits, in which method qlora holds it"
            raise SetupFailed(words, "llmlab launch --set method=lora")
    return list(recipe.lora.modules_to_save) or None


def _learn_in_32_bits(wrapper: Any) -> None:
    """Hold a module's trained copy in 32 bits, as all trainable weights; an embedding's output stays in the model's own type."""
    from torch import nn

    for name, copy in wrapper.modules_to_save.items():
        dtype = next(wrapper.original_module.parameters()).dtype
        wrapper.modules_to_save[name] = copy.float()
        if isinstance(copy, nn.Embedding):
            copy.register_forward_hook(lambda _module, _inputs, output, dtype=dtype: output.to(dtype))


def embeddings_and_head(model: Any) -> list[str]:
    """The names of the input embeddings and the head within their parent modules, in the model's order."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    return [name.rpartition(".")[2] for name, module in model.named_modules() if any(module is end for end in ends)]


def ends_learn(model: Any, recipe: Recipe) -> bool:
    """Whether the rows of single tokens learn, in the embeddings and in the head; an adapter on matrices leaves them as they are."""
    return recipe.method == "full" or set(embeddings_and_head(model)) <= set(recipe.lora.modules_to_save)


def head_of(model: Any) -> Any:
    """The module that computes logits now: of a head in `modules_to_save` the trained copy, unless adapters are disabled."""
    head = model.get_output_embeddings()
    if not hasattr(head, "modules_to_save"):
        return head
    return head.original_module if head.disable_adapters else head.modules_to_save[head.active_adapters[0]]


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

    inner = model.get_decoder()
    if inner is model.get_output_embeddings():  # ModernBERT's decoder calls its head so
        inner = model.base_model
    language = {id(module) for module in inner.modules()}
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
            output = module(x)
            return isinstance(output, torch.Tensor) and torch.equal(output, torch.nn.functional.linear(x, module.weight, module.bias))
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
