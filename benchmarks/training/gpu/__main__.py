"""What a GPU says of the trainer, in so many minutes: a plan of parts, each in a process and a limit of its own.

Usage: `python -m benchmarks.training.gpu --minutes 10`, on a machine with an NVIDIA GPU and torch built for CUDA. What each part finds is
appended to the report, a line of JSON each, as it comes. `--cpu` plays every part that a CPU can, small, which proves the script and says
nothing of a GPU. Ends with 1 where something did not hold.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from benchmarks.training.contest import ENVIRONMENT
from benchmarks.training.gpu import running, shapes, trainings
from benchmarks.training.gpu.plan import PARTS
from benchmarks.training.gpu.running import Job, Part


def main(words: Sequence[str] | None = None) -> int:
    began = time.monotonic()
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=10, help="for all of it")
    options.add_argument("--only", action="append", choices=[part.name for part in PARTS], metavar="PART", help="this part; repeatable")
    options.add_argument("--list", action="store_true", help="print the parts and what each asks")
    options.add_argument("--dry-run", action="store_true", help="print the plan with its seconds, and run nothing")
    options.add_argument("--cpu", action="store_true", help="play what a CPU can, small")
    options.add_argument("--fresh", action="store_true", help="each part in a new interpreter, which is always so on a GPU")
    options.add_argument(running.AS_PART, help=argparse.SUPPRESS)
    options.add_argument("--report", type=Path, default=Path("gpu-report.jsonl"), help="appended to")
    options.add_argument("--peers", type=Path, default=Path(".peers"), help="the folder of the peers' virtual environments")
    given = options.parse_args(words)
    if given.as_part:
        return running.work(*running.told(PARTS, given.as_part))
    parts = [part for part in PARTS if not given.only or part.name in given.only]
    if given.list or given.dry_run:
        print("\n".join(plan(parts, given.minutes * 60, seconds=given.dry_run, cpu=given.cpu)))
        return 0
    _prepare(cpu=given.cpu)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the part under way is ended too
    with tempfile.TemporaryDirectory(prefix="llmlab-gpu-") as scratch:
        job = Job("cpu" if given.cpu else "cuda:0", Path(scratch), given.peers.absolute())
        if not given.cpu and (fault := _fault()):
            print(f"error: this measures an NVIDIA GPU: {fault}", file=sys.stderr)
            print("hint: python -m benchmarks.training.gpu --cpu", file=sys.stderr)
            return 1
        report = given.report.absolute()
        _begin(report, parts, given.minutes, job)
        fresh = given.fresh or not given.cpu
        if not fresh:
            _import(job)
        left = given.minutes * 60 - (time.monotonic() - began)
        running.play(
            parts, job, report, left, lambda line: print(line, file=sys.stderr, flush=True), running.renew if fresh else running.work
        )
    rows = running.read(report)
    print("\n".join(summary(rows)))
    return int(bool(running.wrong(rows)))


def plan(parts: Sequence[Part], whole: float, *, seconds: bool, cpu: bool) -> list[str]:
    """The parts as a table: with their seconds where wanted, and what is left out on a CPU and why."""
    lines = ["| part | " + ("seconds | " if seconds else "share | ") + "on a CPU | asks |", "|---|---|---|---|"]
    played = [part for part in parts if not (cpu and part.cpu)]
    limits = dict(zip((part.name for part in played), running.limits(played, whole), strict=True)) if played else {}
    for part in parts:
        most = (f"{limits[part.name]:.0f}" if part.name in limits else "-") if seconds else f"{part.share:g} %"
        lines.append(f"| {part.name} | {most} | {f'no: {part.cpu}' if part.cpu else 'yes'} | {part.asks} |")
    if seconds:
        lines.append(f"\nat most {sum(limits.values()):.0f} s in all; what a part leaves over goes to those after it")
    return lines


def summary(rows: Sequence[dict[str, object]]) -> list[str]:
    """What a reader wants first: the speeds, what was left out and why, and what did not hold."""
    from benchmarks.training.gpu.parts.speed import table

    ends = [f"| {row['part']} | {row['end']} | {row['seconds']} | {row.get('why', '')} |" for row in rows if "end" in row]
    passed = [bool(row["passed"]) for row in rows if "passed" in row]
    wrong = running.wrong(rows)
    skipped = [f"not looked at: {row['part']}: {row['skipped']}: {row['why']}" for row in rows if "skipped" in row]
    failed = [f"does not hold: {one}" for one in wrong]
    holding = f"{sum(passed)} of {len(passed)} checks hold"
    return ["| part | ended | seconds | |\n|---|---|---|---|", *ends, "", *table(rows), "", *skipped, *failed, holding]


def _prepare(*, cpu: bool) -> None:
    """What libraries read when they are imported."""
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    os.environ.update({"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True", "CUDA_VISIBLE_DEVICES": "" if cpu else "0"})
    if cpu:
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def _import(job: Job) -> None:
    """What every part on a CPU needs, once: libraries, their tables of models, the small model. No gradient: autograd survives no fork."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries', about each other
        from llmlab import recipe as recipes
        from llmlab.trainer.model.adapter import adapt

        adapt(shapes.build(shapes.TINY, "cpu"), recipes.check(trainings.RECIPE), None, lambda _line: None)
    trainings.small(job)


def _fault() -> str:
    """Why there is no GPU to measure, "" where there is one: by a process of its own, so that this one has not touched CUDA."""
    from llmlab.trainer import cuda_devices

    return cuda_devices.Cuda().look().fault(1)


def _begin(report: Path, parts: Sequence[Part], minutes: float, job: Job) -> None:
    """The first row of a run."""
    row = {"began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "minutes": minutes, "device": job.device}
    with report.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"part": "plan", **row, "parts": [part.name for part in parts]}) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
