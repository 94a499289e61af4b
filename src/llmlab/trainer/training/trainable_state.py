"""Trainable weights as plain tensors in the CPU's memory: copied from the model, and saved in PEFT's or transformers' form."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmlab.recipe import Recipe

Named = dict[str, Tensor]


def take(tensors: Mapping[str, Tensor], *, keep: bool = True) -> Named:
    """Copy tensors to the CPU's memory, whole also where they are sharded over several processes.

    All processes have to call this for sharded ones. With `keep` false a process holds one whole tensor at a time: a copy of everything in
    each process is more than the machine's memory.
    """
    taken = {}
    for name, tensor in tensors.items():
        full = _gathered(tensor.detach())
        if keep:
            taken[name] = full.to("cpu", copy=True)
    return taken


def _gathered(tensor: Any) -> Tensor:
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def like(parameter: Any, tensor: Tensor) -> Tensor:
    """A whole tensor on the parameter's device, sharded as the parameter is."""
    moved = tensor.to(parameter.device)
    if not hasattr(parameter, "full_tensor"):
        return moved
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(moved, parameter.device_mesh, parameter.placements)


@dataclass(frozen=True)
class TrainableState:
    """A model and the weights it learned. `tensors` are by the names of the model's parameters."""

    model: Any
    tensors: Named
    method: str

    @classmethod
    def of(cls, model: Any, recipe: Recipe, tensors: Named) -> "TrainableState":
        return cls(model, tensors, recipe.method)

    def save(self, folder: Path, dtype: torch.dtype | None = None) -> None:
        """Write an adapter in PEFT's form, or a whole model in transformers'; `dtype` only for the latter.

        PEFT would else ask the hub for the base model's vocabulary, which never changes here.
        """
        if self.method == "full":
            tensors = {name: tensor.to(dtype) if dtype else tensor for name, tensor in self.tensors.items()}
            self.model.save_pretrained(str(folder), state_dict=tensors)
        else:
            self.model.save_pretrained(str(folder), state_dict=self.tensors, save_embedding_layers=False)
