"""AdamW, as torch has it or as bitsandbytes has it with moments in 8 bits or in pages, and what of it a checkpoint keeps.

8 bits (Dettmers et al. 2021, arXiv 2110.02861): a byte for each moment, with a scale for every block of 256, and 32 bits for tensors of
fewer than 4,096 weights. The table of what a byte stands for is the library's and not kept. Pages (Dettmers et al. 2023, arXiv 2305.14314)
are CUDA's managed memory, which leaves the GPU where it is full; on a CPU they are memory as any other. A checkpoint keeps the same.
"""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from llmlab.recipe import Recipe
from llmlab.trainer.device import need_bitsandbytes
from llmlab.trainer.training import trainable_state

MOMENTS = ("exp_avg", "exp_avg_sq")
"""torch's own names."""
BITSANDBYTES = {"adamw_8bit": "AdamW8bit", "paged_adamw_8bit": "PagedAdamW8bit", "paged_adamw_32bit": "PagedAdamW32bit"}
"""Its class for each optimizer of a recipe that is not torch's."""
BITSANDBYTES_MOMENTS = ("state1", "state2", "absmax1", "absmax2")
"""Its own names: the moments, and of those in 8 bits the scales of their blocks."""
STEP = "step"

Parameters = dict[str, nn.Parameter]


def build(recipe: Recipe, parameters: Parameters) -> torch.optim.Optimizer:
    """The recipe's optimizer.

    Raises:
        SetupFailed: it wants a package that is not installed.
    """
    options: dict[str, Any] = {
        "lr": recipe.learning_rate,
        "betas": (recipe.adam_beta1, recipe.adam_beta2),
        "eps": recipe.adam_epsilon,
        "weight_decay": recipe.weight_decay,
    }
    if recipe.optimizer not in BITSANDBYTES:
        return torch.optim.AdamW(list(parameters.values()), **options, fused=True)
    need_bitsandbytes(f"optimizer {recipe.optimizer}", "llmlab launch --set optimizer=adamw")
    library: Any = import_module("bitsandbytes.optim")  # it has no types
    optimizer: torch.optim.Optimizer = getattr(library, BITSANDBYTES[recipe.optimizer])(list(parameters.values()), **options)
    return optimizer


def take(optimizer: torch.optim.Optimizer, parameters: Parameters, *, keep: bool = True) -> dict[str, Tensor]:
    """A copy of the optimizer's moments, as `trainable_state.take` of weights."""
    moments = {
        f"{name}.{moment}": torch.as_tensor(optimizer.state[parameter][moment])
        for name, parameter in parameters.items()
        if parameter in optimizer.state
        for moment in (*MOMENTS, *BITSANDBYTES_MOMENTS, STEP)
        if moment in optimizer.state[parameter]
    }
    return trainable_state.take(moments, keep=keep)


def put_back(optimizer: Any, parameters: Parameters, kept: dict[str, Tensor]) -> None:
    """Put the moments that `take` took into a new optimizer."""
    for number, (name, parameter) in enumerate(parameters.items()):
        if f"{name}.{STEP}" not in kept:
            continue
        step = kept[f"{name}.{STEP}"]
        if f"{name}.{BITSANDBYTES_MOMENTS[0]}" in kept:
            optimizer.init_state(optimizer.param_groups[0], parameter, 0, number)  # which makes the table, and the pages
            for moment in BITSANDBYTES_MOMENTS:
                if f"{name}.{moment}" in kept:
                    optimizer.state[parameter][moment].copy_(kept[f"{name}.{moment}"])
            optimizer.state[parameter][STEP] = int(step)
        else:
            moments = {moment: trainable_state.like(parameter, kept[f"{name}.{moment}"]) for moment in MOMENTS}
            optimizer.state[parameter] = {**moments, STEP: step.to(parameter.device)}
