"""How fast it goes: tokens a second, seconds by phase, and the share of the hardware's arithmetic that is used (MFU).

MFU counts what the training needs and nothing it does twice (Chowdhery et al. 2022, arXiv 2204.02311, appendix B): 2 operations a parameter
and token forward, 2 for the gradient by the activations, and 2 more for each parameter that learns; attention's products beside them.
"""

import time
from typing import Any

import torch

from llmlab import gpus


class Speed:
    """Times steps. `average` is tokens a second of this attempt so far."""

    def __init__(self, model: Any, device: str, world_size: int) -> None:
        every = [(parameter.numel() * (2 if _is_packed(parameter) else 1), parameter.requires_grad) for parameter in model.parameters()]
        embedding = model.get_input_embeddings().weight
        table = 0 if getattr(model.config.get_text_config(), "tie_word_embeddings", False) else embedding.numel()
        self.per_token = 4 * (sum(count for count, _ in every) - table) + 2 * sum(count for count, learns in every if learns)
        self.cuda = device != "cpu"
        self.device = device
        name = torch.cuda.get_device_name(device) if self.cuda else ""
        self.peak = gpus.teraflops(name) * 1e12 * world_size
        self.average = 0.0
        self._tokens, self._seconds = 0, 0.0

    def begin(self) -> None:
        self._began = self._lap = time.perf_counter()
        self._phases: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        """Count the time since the last lap as this phase's. A GPU is waited for, since a step ends with a number read from it anyway."""
        now = time.perf_counter()
        self._phases[phase] = self._phases.get(phase, 0.0) + now - self._lap
        self._lap = now

    def end(self, tokens: int, trained: int) -> dict[str, Any]:
        """The step's speed as keys of a metrics row."""
        seconds = time.perf_counter() - self._began
        self._tokens, self._seconds = self._tokens + tokens, self._seconds + seconds
        self.average = self._tokens / self._seconds
        return {
            "trained_tokens": trained,
            "tokens_per_second": round(tokens / seconds, 1),
            "mfu": round(self.per_token * tokens / seconds / self.peak, 4) if self.peak else None,
            "memory_gib": round(torch.cuda.max_memory_allocated(self.device) / 2**30, 3) if self.cuda else None,
            "seconds": round(seconds, 4),
            "seconds_by_phase": {name: round(value, 4) for name, value in self._phases.items()},
        }


def _is_packed(parameter: torch.nn.Parameter) -> bool:
    """Whether two 4-bit weights share a byte."""
    return type(parameter).__name__ == "Params4bit"
