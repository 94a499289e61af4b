"""Does a packed row give what each document gives alone, forward and backward, in every size of heads.

What each gives alone is computed in 64 bits by products and a softmax written out. A size that the device refuses is a figure: packing is
left off there. And a whole training says whether it packs.
"""

from itertools import pairwise
from typing import Any

from benchmarks.training.gpu import trainings
from benchmarks.training.gpu.running import Job, Tell

SIZES = (64, 96, 128, 192, 256)
SHARED = (1, 4, 8)
WINDOWS = (None, 16)
BOUNDS = (0, 70, 71, 128, 256)
"""A document of one token among others."""
CLOSE = {"float32": 1e-4, "bfloat16": 2e-2}


def run(job: Job, tell: Tell) -> None:
    import torch

    dtypes = ["float32"] if job.on_cpu else ["bfloat16"]
    for dtype in dtypes:
        for size in SIZES[:2] if job.on_cpu else SIZES:
            for times in SHARED[:2] if job.on_cpu else SHARED:
                for window in WINDOWS:
                    name = f"{dtype}, heads of {size}, {times} share keys" + (f", window {window}" if window else "")
                    try:
                        apart = difference(job.device, getattr(torch, dtype), size, times, window)
                    except (RuntimeError, TypeError) as error:
                        tell.figure(f"refused: {name}", says=str(error)[:200])
                        continue
                    says = ", ".join(f"{what} {value:.0e}" for what, value in apart.items())
                    tell.check(name, max(apart.values()) < CLOSE[dtype], says)
    recipe = {"precision": "fp32" if job.on_cpu else "bf16", "max_steps": 2}
    trained = trainings.train(job, "packed", trainings.small(job), recipe)
    for words, wanted in {"packing: ": "packing: on", "loss head: ": "loss head: in chunks", "fused: ": "fused: "}.items():
        line = trained.line(words)
        tell.check(f"a training says {wanted.strip(': ')}", trained.code == 0 and line.startswith(wanted), line)


def difference(device: str, dtype: Any, size: int, times: int, window: int | None) -> dict[str, float]:
    """Relative differences of the result and of the three gradients."""
    import torch

    from llmlab.trainer.model import varlen_attention

    torch.manual_seed(size + times)
    counts = (8, 8 // times, 8 // times)
    given = [torch.randn(1, count, BOUNDS[-1], size, device=device, dtype=dtype, requires_grad=True) for count in counts]
    longest = max(end - start for start, end in pairwise(BOUNDS))
    documents = varlen_attention.Documents(BOUNDS, torch.tensor(BOUNDS, dtype=torch.int32, device=device), longest)
    result, _ = varlen_attention.attend(torch.nn.Module(), *given, None, documents=documents, sliding_window=window)
    above = torch.randn_like(result)
    gradients = torch.autograd.grad(result, given, above)
    exact_given = [one.detach().double().requires_grad_() for one in given]
    exact = alone(*exact_given, window=window)
    exact_gradients = torch.autograd.grad(exact, exact_given, above.double())
    pairs = {"result": (result, exact), **dict(zip("qkv", zip(gradients, exact_gradients, strict=True), strict=True))}
    return {name: float((one.double() - other).norm() / other.norm()) for name, (one, other) in pairs.items()}


def alone(query: Any, key: Any, value: Any, *, window: int | None) -> Any:
    """(1, tokens, heads, size) of each document by itself."""
    import torch

    times = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(times, dim=1), value.repeat_interleave(times, dim=1)
    parts = []
    for start, end in pairwise(BOUNDS):
        q, k, v = (one[:, :, start:end] for one in (query, key, value))
        distance = torch.arange(end - start, device=q.device)[:, None] - torch.arange(end - start, device=q.device)[None]
        seen = (distance >= 0) & (distance < (window or end))
        scores = (q @ k.transpose(2, 3) * q.shape[-1] ** -0.5).masked_fill(~seen, float("-inf"))
        parts.append(scores.softmax(-1) @ v)
    return torch.cat(parts, dim=2).transpose(1, 2)
