"""How many tokens a second and what share of the arithmetic (MFU), ours beside TRL.

Layers of 8B shape cut to few, and 1B whole, in documents of 2,048 and 8,192 tokens. Contestants take turns until the part's seconds are
used up; each training is a figure, and the speed is that of the steps after the first few, which load kernels. Where liger-kernel and
flash-attn (or `kernels`) are in the peer's environment, TRL's tuned setting uses them, and its name says so.
"""

import gc
import math
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.training import ours
from benchmarks.training.contest import run_peer
from benchmarks.training.gpu import trainings
from benchmarks.training.gpu.running import Job, Tell
from benchmarks.training.gpu.shapes import EIGHT_B, LORA_RANK, ONE_B, TINY, Model, make
from llmlab import gpus

BATCH_TOKENS = 8192
STEPS = 12
WARM_STEPS = 4
LAYERS = 6
"""Of 8B shape: 4.7 GB of weights."""
OURS = "ours"


@dataclass(frozen=True)
class Sort:
    """What is trained: a model and how its tokens lie."""

    model: Model
    length: int
    batch_tokens: int = BATCH_TOKENS

    @property
    def documents(self) -> int:
        return STEPS * self.batch_tokens // self.length


SORTS = (Sort(EIGHT_B.cut(LAYERS), 8192), Sort(ONE_B, 2048), Sort(EIGHT_B.cut(LAYERS), 2048), Sort(ONE_B, 8192))
ON_CPU = (Sort(TINY, 128, batch_tokens=256),)


def run(job: Job, tell: Tell) -> None:
    until = time.monotonic() + job.seconds
    peer = (job.peers / "trl" / "bin" / "python").exists()
    if not peer:
        tell.skip("TRL", f"it is not installed in {job.peers}: make bench-train installs it")
    peak = math.nan if job.on_cpu else gpus.teraflops(_name(job.device)) * 1e12 or math.nan
    longest = 0.0
    for turn, (sort, contestant, settings) in enumerate(_turns(job, peer=peer)):
        began = time.monotonic()
        if turn and began + longest > until:  # killed in the middle it would say nothing
            return
        try:
            speed, memory = _measure(job, sort, contestant, settings)
        except RuntimeError as error:
            known = "out of memory" in str(error).lower()
            tell.figure(_title(sort), contestant=contestant, out_of_memory=True) if known else tell.check(contestant, False, str(error))
            continue
        finally:
            longest = max(longest, time.monotonic() - began)
        share = sort.model.operations(sort.length) * speed / peak
        tell.figure(
            _title(sort),
            contestant=contestant,
            tokens_per_second=round(speed),
            mfu=None if math.isnan(share) else round(share, 4),
            memory_gib=None if memory is None else round(memory, 2),
        )


def _turns(job: Job, *, peer: bool) -> Iterator[tuple[Sort, str, Mapping[str, Any]]]:
    """Trainings without end; one of each on a CPU, where they tell that the script runs and not how fast a GPU is."""
    while True:
        for sort in ON_CPU if job.on_cpu else SORTS:
            for contestant, settings in contestants(job, sort, peer=peer and not job.on_cpu).items():
                yield sort, contestant, settings
        if job.on_cpu:
            return


def contestants(job: Job, sort: Sort, *, peer: bool) -> dict[str, Mapping[str, Any]]:
    """Names and settings: ours alone where the peer is not installed, in whose environment is looked up what the tuned one can load."""
    batch = sort.batch_tokens // sort.length
    lora = {**ours.RECIPE["lora"], "rank": LORA_RANK, "dropout": 0.0}
    mine = {**ours.RECIPE, "max_length": sort.length, "batch_size": batch, "accumulate": 1, "lora": lora, "max_steps": STEPS}
    if job.on_cpu:
        return {OURS: {**mine, "precision": "fp32", "device": "cpu"}}
    sorts: dict[str, Mapping[str, Any]] = {OURS: {**mine, "device": "auto"}}
    if not peer:
        return sorts
    plain = {"max_length": sort.length, "per_device_train_batch_size": batch, "logging_steps": 1, "save_strategy": "no"}
    tuned: dict[str, Any] = {"packing": True, "dtype": "bfloat16"}
    words = ["packing"]
    if _has(job.peers, "liger_kernel"):
        tuned["use_liger_kernel"] = True
        words.append("Liger")
    if _has(job.peers, "flash_attn"):
        tuned["attn_implementation"] = "flash_attention_2"
        words.append("FlashAttention 2")
    elif _has(job.peers, "kernels"):
        tuned["attn_implementation"] = "kernels-community/flash-attn2"
        words.append("FlashAttention 2 of the hub")
    name = f"TRL, tuned: {', '.join(words)}"
    return {
        **sorts,
        name: plain | tuned | {"gradient_checkpointing": False},
        "trl sft, defaults": plain,
        f"{name}, checkpointing": plain | tuned | {"gradient_checkpointing": True},
    }


def _has(peers: Path, module: str) -> bool:
    question = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{module}') is None)"
    return subprocess.run([str(peers / "trl" / "bin" / "python"), "-c", question], check=False).returncode == 0


def _measure(job: Job, sort: Sort, contestant: str, settings: Mapping[str, Any]) -> tuple[float, float | None]:
    """Tokens a second once warm, and GiB of GPU memory at most, None on a CPU."""
    assets = make(job.folder, sort.model, job.device, sort.length, sort.documents)
    if contestant != OURS:
        _make_room(job)
        measured = run_peer(job.peers / "trl" / "bin" / "python", "run_trl.py", assets, job.folder / "trl", settings)
        warm = measured.marks[-1] - measured.marks[WARM_STEPS]
        return measured.tokens / measured.steps * (measured.steps - WARM_STEPS) / warm, measured.gpu_bytes / 2**30
    if not job.on_cpu:
        import torch

        torch.cuda.reset_peak_memory_stats()
    trained = trainings.train(job, "ours", assets, settings, rows="text")
    if trained.code:
        raise RuntimeError(trained.says)
    rows = trained.rows
    tokens = rows[-1]["tokens"] - rows[WARM_STEPS - 1]["tokens"]
    memory = max((row["memory_gib"] for row in rows if "memory_gib" in row), default=None)
    return tokens / sum(row["seconds"] for row in rows[WARM_STEPS:]), memory


def _make_room(job: Job) -> None:
    """What our trainings in this process still hold of the GPU would be the peer's."""
    import torch

    if not job.on_cpu:
        gc.collect()
        torch.cuda.empty_cache()


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Medians as Markdown, "" where nothing was measured."""
    runs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if "tokens_per_second" in row:
            runs.setdefault((row["figure"], row["contestant"]), []).append(row)
    if runs:
        yield "| model | contestant | trainings | tokens/s | MFU | peak memory |\n|---|---|---|---|---|---|"
    for (title, contestant), every in runs.items():
        figures = {name: [row[name] for row in every if row[name] is not None] for name in ("tokens_per_second", "mfu", "memory_gib")}
        middle = {name: statistics.median(values) for name, values in figures.items() if values}
        share = f"{middle['mfu']:.1%}" if "mfu" in middle else "-"
        memory = f"{middle['memory_gib']:.1f} GiB" if "memory_gib" in middle else "-"
        yield f"| {title} | {contestant} | {len(every)} | {middle['tokens_per_second']:,.0f} | {share} | {memory} |"


def _title(sort: Sort) -> str:
    return f"{sort.model.name}, documents of {sort.length:,}"


def _name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device)
