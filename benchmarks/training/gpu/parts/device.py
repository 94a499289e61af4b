"""Which GPU and libraries these are, and do their kernels load and compute.

A wheel without code for this GPU fails here, at the first product, and not in the middle of another part.
"""

import importlib.util
import inspect
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks.training.gpu.running import Job, Skipped, Tell
from llmlab.trainer import cuda_devices

LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "liger-kernel", "triton")


def run(job: Job, tell: Tell) -> None:
    import torch

    tell.figure("libraries", python=platform.python_version(), **{name: _version(name) for name in LIBRARIES})
    compiler = next((path for name in (os.environ.get("CC", ""), "gcc", "clang") if name and (path := shutil.which(name))), "")
    tell.figure("compiler", path=compiler or "none: Triton cannot build what it launches by, so neither `compile: true` nor Liger")
    if job.on_cpu:
        tell.figure("device", name=platform.processor() or platform.machine(), threads=torch.get_num_threads())
    else:
        look = cuda_devices.seen()
        tell.check("CUDA starts and every GPU computes", not look.fault(1), look.fault(1) or f"{look.count} GPUs")
        facts = torch.cuda.get_device_properties(job.device)
        tell.figure(
            "device",
            name=facts.name,
            capability=f"{facts.major}.{facts.minor}",
            memory_gib=round(facts.total_memory / 2**30, 1),
            cuda=torch.version.cuda,
            built_for=torch.cuda.get_arch_list(),
            driver=os.popen("nvidia-smi --query-gpu=driver_version --format=csv,noheader").readline().strip(),
        )
    for name, kernel in {"torch's fused norm": _norm, "torch's fused AdamW": _optimizer, "bitsandbytes' 4 bits": _four_bits}.items():
        _try(name, kernel, job, tell)
    if not job.on_cpu:
        _try("attention of varied length", _varlen, job, tell)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _try(name: str, kernel: Any, job: Job, tell: Tell) -> None:
    try:
        passed, says = kernel(job.device)
    except Skipped as skipped:
        tell.skip(name, str(skipped))
    except Exception as error:  # noqa: BLE001 - whatever it is, the other kernels are tried
        tell.check(name, False, f"{type(error).__name__}: {error}")
    else:
        tell.check(name, passed, says)


def _norm(device: str) -> tuple[bool, str]:
    import torch

    x = torch.randn(64, 128, device=device, dtype=torch.bfloat16)
    exact = x.double() / (x.double().square().mean(-1, keepdim=True) + 1e-6).sqrt()
    apart = float((torch.nn.functional.rms_norm(x, (128,), eps=1e-6).double() - exact).norm() / exact.norm())
    return apart < 1e-2, f"within {apart:.0e} of 64 bits"


def _optimizer(device: str) -> tuple[bool, str]:
    import torch

    weight = torch.nn.Parameter(torch.ones(1000, device=device))
    weight.grad = torch.ones_like(weight)
    torch.optim.AdamW([weight], lr=0.1, weight_decay=0.0, fused=True).step()
    return abs(float(weight.detach().mean()) - 0.9) < 1e-4, f"a step of 0.1 from 1 to {float(weight.detach().mean()):.4f}"


def _four_bits(device: str) -> tuple[bool, str]:
    import torch

    if importlib.util.find_spec("bitsandbytes") is None:
        raise Skipped("bitsandbytes is not installed")
    from bitsandbytes import functional

    x = torch.randn(512, 512, device=device, dtype=torch.bfloat16)
    packed, state = functional.quantize_4bit(x, quant_type="nf4", compress_statistics=True)
    apart = float((functional.dequantize_4bit(packed, state) - x).float().norm() / x.float().norm())
    return 0.02 < apart < 0.2, f"{apart:.3f} of the norm is lost by 4 bits, a tenth is usual"


def _varlen(device: str) -> tuple[bool, str]:
    import torch
    from torch.nn.attention.varlen import varlen_attn

    from llmlab.trainer.device import AMPERE

    if torch.cuda.get_device_capability(device)[0] < AMPERE:
        raise Skipped("this GPU is older than SM 8.0")
    known = "enable_gqa" in inspect.signature(varlen_attn).parameters
    return known, "shares heads" if known else f"torch {torch.__version__} has it without shared heads, so packing would be left off"
