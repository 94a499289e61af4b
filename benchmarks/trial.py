"""How many rows a second a chat template is tried on, counted with a tokenizer: in one process, and in as many as there are cores.

Usage: `python -m benchmarks.trial [--bytes 20000000]`. The template and the tokenizer are the sandbox's own; processor time of all
processes is shown beside wall time, with what starting them took.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from benchmarks.chats import make
from llmlab.dataset import find
from llmlab.dataset.check import check
from llmlab.dataset.rendering.model_files import ModelFiles
from llmlab.dataset.trial import try_on
from llmlab.sandbox.model import make_tokenizer


def spent() -> float:
    """Processor seconds of this process and of those that it started and that ended."""
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bytes", type=int, default=20_000_000)
    size = options.parse_args().bytes
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_tokenizer(0).save_pretrained(folder / "model")
        found = find(make(folder / "chats.jsonl", size))
        report, files = check(found), ModelFiles(folder / "model")
        print("| processes | rows | tokens | seconds | rows a second | of processor time |\n|---|---|---|---|---|---|")
        trials = []
        for processes in dict.fromkeys((1, max(2, min(os.cpu_count() or 1, 8)))):
            before, began = spent(), time.perf_counter()
            trials.append(try_on(found, report, files, processes=processes))
            wall, load = time.perf_counter() - began, spent() - before
            rows = trials[-1].examples
            print(f"| {processes} | {rows} | {trials[-1].tokens} | {wall:.1f} | {rows / wall:.0f} | {rows / load:.0f} |", flush=True)
        assert all(trial == trials[0] for trial in trials), "the same, however many"


if __name__ == "__main__":
    main()
