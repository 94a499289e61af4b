"""Products that the matrix library gives to one of two threads, whole and in our pieces, in turns.

    python -m benchmarks.products [--rounds 7]

Each cell is billions of operations a second for as many matrices as a model has layers, so that none is in a cache when its turn comes.
Where ours are not in pieces, both columns time the same. Prints Markdown; on a processor without tiles there is nothing to show.
"""

import argparse
import os
import statistics
import time

from benchmarks.training.contest import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before torch is imported, as the trainer does it

import torch

from llmlab.trainer.device import has_amx
from llmlab.trainer.model.products import product

SHAPES = ((1408, 512), (512, 512), (512, 1408), (2048, 768), (768, 768), (768, 384), (768, 2048))
"""Numbers of a row before and after, of the two models of `benchmarks.training`."""
ROWS = (320, 512, 640, 768, 896, 1024, 1536)
LAYERS = 16


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    given = options.parse_args()
    if not has_amx() or torch.get_num_threads() != 2:
        print("nothing to measure: ours are in pieces with two threads on a processor with AMX")
        return 0
    print("| product | " + " | ".join(f"{rows} rows" for rows in ROWS) + " |")
    print("|---" * (len(ROWS) + 1) + "|")
    for inner, width in SHAPES:
        cells = [cell(rows, inner, width, given.rounds) for rows in ROWS]
        print(f"| {inner} to {width}, whole and ours | {' | '.join(cells)} |", flush=True)
    return 0


def cell(rows: int, inner: int, width: int, rounds: int) -> str:
    xs = [torch.randn(rows, inner).bfloat16() for _ in range(LAYERS)]
    matrices = [torch.randn(width, inner).bfloat16().t() for _ in range(LAYERS)]
    took: dict[str, list[float]] = {"whole": [], "ours": []}
    for _ in range(rounds):
        for name, multiply in (("whole", torch.mm), ("ours", product)):
            began = time.perf_counter()
            for x, matrix in zip(xs, matrices, strict=True):
                multiply(x, matrix)
            took[name].append(time.perf_counter() - began)
    whole, ours = (2 * LAYERS * rows * inner * width / statistics.median(took[name]) / 1e9 for name in ("whole", "ours"))
    return f"{whole:,.0f} {ours:,.0f}"


if __name__ == "__main__":
    raise SystemExit(main())
