"""Is attention never left to torch's plain kernel, whose memory is quadratic, forward and backward.

The operators that ran are read from torch's profiler. Beside the way of this GPU, that of GPUs before SM 8.0 is taken on it, where no
kernel lets heads share keys (https://github.com/huggingface/transformers/pull/45776).
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from benchmarks.training.gpu.running import Job, Tell

PLAIN = "_scaled_dot_product_attention_math"
SHAPES = {"heads of 64, 4 share keys": (8, 2, 64), "heads of 128, 8 share keys": (8, 1, 128), "heads of 128, none share": (4, 4, 128)}
TOKENS = 128


def run(job: Job, tell: Tell) -> None:
    for way, taken in {"this device": nullcontext(), "before SM 8.0": _before_ampere()}.items():
        with taken:
            for shape, (heads, shared, size) in SHAPES.items():
                for packed in (True, False):
                    name = f"{way}, {shape}, {'packed' if packed else 'padded'}"
                    kernels = operators(job, heads, shared, size, packed=packed, dtype="bfloat16" if way == "this device" else "float16")
                    plain = [kernel for kernel in kernels if PLAIN in kernel]
                    tell.check(name, not plain and bool(kernels), ", ".join(kernels) or "no operator of attention was seen")


def operators(job: Job, heads: int, shared: int, size: int, *, packed: bool, dtype: str) -> list[str]:
    """The operators of attention that one call of the trainer's ran, forward and backward."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from llmlab.trainer.model import varlen_attention

    kind = torch.float32 if job.on_cpu and dtype == "float16" else getattr(torch, dtype)
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(1, count, TOKENS, size, device=job.device, dtype=kind, requires_grad=True) for count in (heads, shared, shared)
    )
    half = TOKENS // 2
    bounds = torch.tensor([0, half, TOKENS], dtype=torch.int32, device=job.device)
    documents = varlen_attention.Documents((0, half, TOKENS), bounds, half) if packed else None
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        result, _ = varlen_attention.attend(torch.nn.Module(), query, key, value, None, documents=documents)
        torch.autograd.grad(result.float().sum(), (query, key, value))
    names = {event.key.removeprefix("aten::") for event in seen.key_averages()}
    return sorted(name for name in names if "attention" in name.lower() or "attn" in name.lower())


@contextmanager
def _before_ampere() -> Iterator[None]:
    """The trainer takes this GPU for one of SM 7.5."""
    from llmlab.trainer.model import varlen_attention

    newest, grouped = varlen_attention.AMPERE, varlen_attention.has_grouped_kernel
    varlen_attention.AMPERE = 99
    varlen_attention.has_grouped_kernel = lambda _device: False
    try:
        yield
    finally:
        varlen_attention.AMPERE, varlen_attention.has_grouped_kernel = newest, grouped
