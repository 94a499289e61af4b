"""Ours and TRL on one GPU: random models of the shapes of Llama 3.1 8B and Llama 3.2 1B, LoRA in bf16, 2,048 and 8,192 tokens.

Usage: `python -m benchmarks.training.gpu [--model 1B] [--length 2048] [--only ours]`, on a machine with an NVIDIA GPU of compute
capability 8.0 or more, torch built for CUDA in our environment and in the peer's. Where liger-kernel and flash-attn (or `kernels`)
are in the peer's environment, TRL's tuned setting uses them, and the row says so.

Speed is that of the steps after the first few, which load kernels. MFU is (4 N + 6 A + 6 s h l) x tokens/s / peak: N frozen parameters
that multiply, A that learn, s tokens a document, h hidden size, l layers (Chowdhery et al. 2022, arXiv 2204.02311, appendix B, without
the gradients that frozen weights do not need, and with half of attention's products, because it is causal).
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.training import assets, ours
from benchmarks.training.contest import run_peer
from llmlab import gpus

BATCH_TOKENS = 8192
STEPS = 40
WARM_STEPS = 8
LENGTHS = (2048, 8192)
LORA_RANK = 16


@dataclass(frozen=True)
class Model:
    """A public architecture, as in its `config.json`."""

    name: str
    settings: Mapping[str, Any]

    def operations(self, length: int) -> float:
        """Floating point operations that training one token needs."""
        hidden, inner, layers, vocabulary = (
            self.settings[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size")
        )
        narrow = hidden * self.settings["num_key_value_heads"] // self.settings["num_attention_heads"]
        multiplying = layers * (2 * hidden * hidden + 2 * hidden * narrow + 3 * hidden * inner) + hidden * vocabulary
        learning = layers * LORA_RANK * (2 * hidden + hidden + narrow)
        return float(4 * multiplying + 6 * learning + 6 * length * hidden * layers)


COMMON = {"vocab_size": 128_256, "max_position_embeddings": 131_072, "rms_norm_eps": 1e-5, "num_key_value_heads": 8}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500_000.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
MODELS = {
    "1B": Model(
        "Llama 3.2 1B",
        COMMON
        | {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32, "head_dim": 64}
        | {"tie_word_embeddings": True, "rope_parameters": LLAMA3 | {"factor": 32.0, "original_max_position_embeddings": 8192}},
    ),
    "8B": Model(
        "Llama 3.1 8B",
        COMMON
        | {"hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32, "num_attention_heads": 32, "head_dim": 128}
        | {"tie_word_embeddings": False, "rope_parameters": LLAMA3 | {"factor": 8.0, "original_max_position_embeddings": 8192}},
    ),
}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", choices=MODELS, action="append", help="both when not given")
    options.add_argument("--length", type=int, choices=LENGTHS, action="append", help="both when not given")
    options.add_argument("--only", default="", help="contestants by name, with ; between them")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--peers", type=Path, default=Path(".peers"))
    given = options.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("error: this measures an NVIDIA GPU, and torch sees none", file=sys.stderr)
        print("hint: nvidia-smi", file=sys.stderr)
        return 1
    os.environ.update({"CUDA_VISIBLE_DEVICES": "0", "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"})
    device = torch.cuda.get_device_name(0)
    peak = gpus.teraflops(device) * 1e12 or math.nan
    print(
        f"{device}, peak {peak / 1e12:.0f} TFLOP/s, torch {torch.__version__}, {BATCH_TOKENS:,} tokens a batch, medians of {given.rounds}\n"
    )
    print("| model | tokens a document | contestant | tokens/s | MFU | peak memory |\n|---|---|---|---|---|---|")
    for name in given.model or MODELS:
        for length in given.length or LENGTHS:
            made = make(given.peers / "assets", name, length)
            runs: dict[str, list[tuple[float, float]]] = {}
            with tempfile.TemporaryDirectory() as scratch:
                for _ in range(given.rounds):
                    for contestant in contestants(given.peers, length):
                        if not given.only or contestant in given.only.split(";"):
                            runs.setdefault(contestant, []).append(measure(contestant, made, Path(scratch), given.peers, length))
            for contestant, every in runs.items():
                speed, memory = (statistics.median(one[at] for one in every) for at in (0, 1))
                share = MODELS[name].operations(length) * speed / peak
                shown = f"{speed:,.0f} | {share:.1%} | {memory / 2**30:.1f} GiB" if speed else "out of memory | - | -"
                print(f"| {MODELS[name].name} | {length:,} | {contestant} | {shown} |", flush=True)
    return 0


def contestants(peers: Path, length: int) -> dict[str, Mapping[str, Any]]:
    """Names and settings: ours alone where the peer is not installed, in whose environment is looked up what the tuned one can load."""
    batch = BATCH_TOKENS // length
    mine = {"max_length": length, "batch_size": batch, "accumulate": 1, "device": "auto", "lora": {**ours.RECIPE["lora"], "dropout": 0.0}}
    if not (peers / "trl" / "bin" / "python").exists():
        return {"ours": mine}
    plain = {"max_length": length, "per_device_train_batch_size": batch, "logging_steps": 1, "save_strategy": "no"}
    tuned = {"packing": True, "dtype": "bfloat16"}
    words = ["packing"]
    if has(peers, "liger_kernel"):
        tuned["use_liger_kernel"] = True
        words.append("Liger")
    if has(peers, "flash_attn"):
        tuned["attn_implementation"] = "flash_attention_2"
        words.append("FlashAttention 2")
    elif has(peers, "kernels"):
        tuned["attn_implementation"] = "kernels-community/flash-attn2"
        words.append("FlashAttention 2 of the hub")
    name = f"TRL, tuned: {', '.join(words)}"
    return {
        "ours": mine,
        "trl sft, defaults": plain,
        name: plain | tuned | {"gradient_checkpointing": False},
        f"{name}, checkpointing": plain | tuned | {"gradient_checkpointing": True},
    }


def has(peers: Path, module: str) -> bool:
    question = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{module}') is None)"
    return subprocess.run([str(peers / "trl" / "bin" / "python"), "-c", question], check=False).returncode == 0


def measure(contestant: str, made: Path, scratch: Path, peers: Path, length: int) -> tuple[float, float]:
    """Tokens a second once warm, and bytes of GPU memory at most; zeros where the memory does not suffice."""
    settings = contestants(peers, length)[contestant]
    try:
        if contestant == "ours":
            work = ours.work_folder(scratch / "ours", made, "text", {**ours.RECIPE, **settings})
            ours.run(work)
            rows = ours.metrics(work)[WARM_STEPS:]
            tokens = rows[-1]["tokens"] - ours.metrics(work)[WARM_STEPS - 1]["tokens"]
            return tokens / sum(row["seconds"] for row in rows), max(row["memory_gib"] for row in rows) * 2**30
        measured = run_peer(peers / "trl" / "bin" / "python", "run_trl.py", made, scratch / "trl", settings)
    except RuntimeError as error:
        if "out of memory" not in str(error).lower():
            raise
        return 0.0, 0.0
    warm = measured.marks[-1] - measured.marks[WARM_STEPS]
    return measured.tokens / measured.steps * (measured.steps - WARM_STEPS) / warm, measured.gpu_bytes


def make(folder: Path, name: str, length: int) -> Path:
    """A folder as `assets.make` leaves one: the random model, made on the GPU, and documents of just under `length` tokens."""
    place = folder / f"{name}-{length}"
    if (place / "tokens.json").is_file():
        return place
    chance = random.Random(assets.SEED)
    language = assets.vocabulary_of(assets.MID.words, chance)
    tokenizer = assets.learn_tokenizer(language, assets.MID.vocabulary)
    model = folder / f"{name}-model"
    if not (model / "config.json").is_file():
        build(model, MODELS[name], tokenizer)
    place.mkdir(parents=True, exist_ok=True)
    (place / "model").unlink(missing_ok=True)
    (place / "model").symlink_to(model.resolve())
    sizes = dict(zip(language, map(len, tokenizer([f" {word}" for word in language])["input_ids"]), strict=True))
    rows = []
    for _ in range(STEPS * BATCH_TOKENS // length):
        words, room = [], length - 64
        while room > 8:
            words.append(chance.choice(language))
            room -= sizes[words[-1]]
        messages = [("system", assets.SYSTEM), ("user", "How do I do it?"), ("assistant", "You " + " ".join(words))]
        rows.append({"messages": [{"role": role, "content": content} for role, content in messages]})
    assets.write_rows(place, tokenizer, rows)
    longest = max(map(len, json.loads((place / "tokens.json").read_text(encoding="utf-8"))))
    assert longest <= length, f"a document has {longest} tokens"
    return place


def build(folder: Path, model: Model, tokenizer: Any) -> None:
    """A Llama of random bf16 weights, made on the GPU, because it takes minutes elsewhere, and freed again."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(assets.SEED)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            made = LlamaForCausalLM(
                LlamaConfig(**model.settings, bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
            )
    finally:
        torch.set_default_dtype(torch.float32)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    del made
    torch.cuda.empty_cache()


if __name__ == "__main__":
    raise SystemExit(main())
