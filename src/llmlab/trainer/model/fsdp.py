"""The model over several GPUs: a copy on each, or its weights divided layer by layer (FSDP2, `fully_shard`)."""

from typing import Any

import torch

from llmlab import footprint
from llmlab.recipe import Recipe
from llmlab.trainer.device import Device, Say
from llmlab.trainer.distributed import Processes
from llmlab.trainer.failures import SetupFailed
from llmlab.trainer.model.load import decoder
from llmlab.trainer.model.objective import Objective

ROOM = 0.6
"""The share of a GPU's memory that weights, gradients and optimizer of a copy may fill; the rest is for activations."""


def divides(model: Any, recipe: Recipe, processes: Processes, say: Say) -> bool:
    """Whether the weights are to be sharded; the reason is logged.

    Raises:
        SetupFailed: the recipe asks for it, and its optimizer or objective keeps whole copies.
    """
    if processes.world_size == 1:
        return False
    if recipe.whole_copies:
        if recipe.parallel == "fsdp":
            raise SetupFailed(f"{recipe.whole_copies} keeps a copy on each GPU", "llmlab launch --set parallel=auto")
        say(f"parallel: a copy on each of {processes.world_size} GPUs, because of {recipe.whole_copies}")
        return False
    if recipe.parallel != "auto" or processes.device == "cpu":
        say(f"parallel: {'divided over' if recipe.parallel == 'fsdp' else 'a copy on each of'} {processes.world_size} processes, asked for")
        return recipe.parallel == "fsdp"
    needed = copy_bytes(model, recipe)
    gpu_bytes = torch.cuda.get_device_properties(processes.device).total_memory
    fits = needed <= ROOM * gpu_bytes
    size = f"{needed / 2**30:.1f} of {gpu_bytes / 2**30:.0f} GiB"
    say(f"parallel: {'a copy on each of' if fits else 'divided over'} {processes.world_size} GPUs, a copy takes {size}")
    return not fits


def copy_bytes(model: Any, recipe: Recipe) -> float:
    """Bytes of a copy with its gradients and optimizer."""
    return float(
        sum(
            parameter.numel() * (footprint.state(recipe) if parameter.requires_grad else parameter.element_size())
            for parameter in model.parameters()
        )
    )


def divide(objective: Objective, device: Device, processes: Processes) -> None:
    """Divide the weights in place. Until here every process holds all of them in the CPU's memory."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device.name.partition(":")[0], (processes.world_size,))
    policy = MixedPrecisionPolicy()
    if device.dtype != "float32":
        policy = MixedPrecisionPolicy(param_dtype=getattr(torch, device.dtype), reduce_dtype=torch.float32)
    options: dict[str, Any] = {"mesh": mesh, "mp_policy": policy}
    for whole in (objective.causal, objective.reference):
        for layer in decoder(whole).layers if whole is not None else ():
            fully_shard(layer, **options)
    fully_shard(objective, **options)
