"""Tokenising a dataset for training against the bare tokenizer in batch mode on the same texts, and the memory that it takes.

Usage: `python -m benchmarks.tokenise [--gigabytes 1] [--sample 50] [--rounds 3] [--processes N]`. The chat template is Qwen2.5's, which has
no generation marks, so that every answer is found by comparing prefixes: the dearer way. Two things are measured. On a sample of
`--sample` megabytes, in alternation: `load_examples.load` with all it does (starting processes, reading, checking, rendering, tokenising,
masks, the store), and `Tokenizer.encode_batch_fast` on the texts already rendered, with its threads on all cores. Then the whole dataset
once, with the resident memory of all processes together; it fails above 4 GB, and so does the kernel: that load and each process it starts
may write to an equal share of 4 GB and no more (RLIMIT_DATA, which leaves out the file of tokens that all of them map).
"""

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import orjson

from benchmarks.chats import make, texts_of
from benchmarks.memory import resident

MOST_BYTES = 4_000_000_000
VOCABULARY = 16_384


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--gigabytes", type=float, default=1)
    options.add_argument("--sample", type=float, default=50, help="megabytes")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options.add_argument("--load", nargs=3, metavar=("DATA", "TOKENIZER", "CACHE"), help=argparse.SUPPRESS)
    options.add_argument("--limit", type=int, help=argparse.SUPPRESS)
    options.add_argument("--bare", nargs=2, metavar=("DATA", "TOKENIZER"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.load:
        data, tokenizer, cache = map(Path, given.load)
        if given.limit:
            resource.setrlimit(resource.RLIMIT_DATA, (given.limit, given.limit))
        print(json.dumps(load(data, tokenizer, cache, given.processes)))
    elif given.bare:
        print(json.dumps(bare(*map(Path, given.bare))))
    else:
        compare(given)


def compare(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = make_tokenizer(folder / "tokenizer")
        sample = make(folder / "sample.jsonl", int(given.sample * 1e6))
        ours: list[dict[str, float]] = []
        peer: list[dict[str, float]] = []
        for turn in range(given.rounds):
            ours.append(child("--load", sample, tokenizer, folder / f"cache-{turn}", "--processes", given.processes)[0])
            peer.append(child("--bare", sample, tokenizer)[0])
        tokens = ours[0]["tokens"]
        if tokens != peer[0]["tokens"]:
            sys.exit(f"not the same work: {tokens:,.0f} tokens and {peer[0]['tokens']:,.0f}")
        print(f"sample: {sample.stat().st_size / 1e6:.0f} MB, {tokens:,.0f} tokens\n")
        print("| what | wall time | processor time | tokens/s |\n|---|---|---|---|")
        medians = {}
        for what, runs in ((f"data.load, {given.processes} processes", ours), ("bare tokenizer, rendered texts, all cores", peer)):
            wall, load_ = (statistics.median(run[unit] for run in runs) for unit in ("seconds", "processor"))
            medians[what] = (wall, load_)
            print(f"| {what} | {wall:.2f} s | {load_:.2f} s | {tokens / wall:,.0f} |")
        (wall, load_), (bare_wall, bare_load) = medians.values()
        print(f"| share of the bare tokenizer's speed | {bare_wall / wall:.2f} | {bare_load / load_:.2f} | |\n")
        if given.gigabytes:
            whole(folder, tokenizer, given)


def whole(folder: Path, tokenizer: Path, given: argparse.Namespace) -> None:
    data = make(folder / "data.jsonl", int(given.gigabytes * 1e9))
    limit = MOST_BYTES // (given.processes + 2)  # itself, and multiprocessing has one more that watches
    made, most = child("--load", data, tokenizer, folder / "cache", "--processes", given.processes, "--limit", limit)
    again, _ = child("--load", data, tokenizer, folder / "cache", "--processes", given.processes)
    print(f"whole: {data.stat().st_size / 1e9:.2f} GB, {made['examples']:,} examples, {made['tokens']:,} tokens in {made['seconds']:.1f} s")
    print(f"resident at most, all processes together: {most / 1e6:,.0f} MB; opened again in {again['seconds']:.2f} s")
    if most > MOST_BYTES:
        sys.exit(f"more than {MOST_BYTES / 1e9:.0f} GB resident")


def child(*arguments: object) -> tuple[dict[str, float], int]:
    """A fresh process's result, and the most that it and those it started had resident."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.tokenise", *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    most = 0
    while process.poll() is None:
        most = max(most, resident(process.pid))
        time.sleep(0.2)
    out = process.stdout.read() if process.stdout else ""
    if process.returncode:
        sys.exit(process.returncode)
    return json.loads(out), most


def load(data: Path, tokenizer: Path, cache: Path, processes: int) -> dict[str, float]:
    """Seconds and counts of what the trainer does."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from transformers import AutoTokenizer

    from llmlab import recipe
    from llmlab.contract import DataFile, Manifest
    from llmlab.trainer.data import load_examples as trainer_data
    from llmlab.trainer.data.example_encoder import Encoder

    encoder = Encoder(AutoTokenizer.from_pretrained(tokenizer))
    digest = hashlib.sha256(data.name.encode()).hexdigest()  # the manifest carries the file's; making it is not what is measured
    manifest = Manifest("benchmark", (DataFile(data.name, data.stat().st_size, digest),), "2026-01-01T00:00:00Z")
    asked = recipe.check({"model": "lab:benchmark", "max_length": 8192, "evaluation": {"share": 0.01}})
    before, began = processor(), time.perf_counter()
    made = trainer_data.load(data.parent, manifest, encoder, asked, cache, lambda: None, processes)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "processor": processor() - before, "tokens": made.facts.tokens, "examples": made.facts.examples}


def processor() -> float:
    """Seconds of processor time of this process and those it started and that ended."""
    every = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in every)


def bare(data: Path, tokenizer: Path) -> dict[str, float]:
    """Seconds of the tokenizer alone, in batches of 1,000, on texts that are rendered already."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    from transformers import AutoTokenizer

    from llmlab.dataset.rendering.template import TokenizerTemplate

    loaded = AutoTokenizer.from_pretrained(tokenizer)
    template = TokenizerTemplate(loaded)
    with data.open("rb") as lines:
        texts = [template.render(orjson.loads(line)["messages"], []) for line in lines]
    tokens = 0
    before, began = processor(), time.perf_counter()
    every = iter(texts)
    while batch := list(islice(every, 1000)):
        tokens += sum(len(one.ids) for one in loaded.backend_tokenizer.encode_batch_fast(batch, add_special_tokens=False))
    return {"seconds": time.perf_counter() - began, "processor": processor() - before, "tokens": tokens}


def make_tokenizer(folder: Path) -> Path:
    """A byte-level BPE trained on such texts, with Qwen2.5's control tokens, splitting rule and chat template."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rule = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(rule), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    plain.decoder = decoders.ByteLevel()
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=control, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    plain.train_from_iterator(texts_of(1)[:1000] + texts_of(2)[:1000], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    found = find_spec("trl")
    made.chat_template = (Path(str(found.origin if found else "")).parent / "chat_templates" / "qwen2_5.jinja").read_text(encoding="utf-8")
    made.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
