"""One contestant's training in a process of its own: what it says of itself, and what is seen of it from outside.

The process's wall time, processor time and largest resident size come from the kernel as it ends, for ours and the peers alike.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LIMIT_SECONDS = 1200

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "68719476736",
    "MALLOC_TOP_PAD_": "268435456",
}
"""What the training image sets, given to every contestant: without it page faults rule, and a busy machine makes spinning threads crawl."""


@dataclass(frozen=True)
class Measured:
    """`seconds` are those of training alone, by the contestant's own clock; `wall` and `processor` are of the whole process."""

    seconds: float
    steps: int
    tokens: int
    targets: int
    wall: float
    processor: float
    peak_bytes: int
    gpu_bytes: int = 0
    marks: tuple[float, ...] = ()
    """Of a Trainer: the time at the start of each batch, and at the end of the last."""
    losses: tuple[float, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """A process that ended well."""

    wall: float
    processor: float
    peak_bytes: int


def start(command: list[str], log: Path, environment: Mapping[str, str], tick: Callable[[float], None] | None = None) -> Ended:
    """Run a process to its end. `tick` is called with the seconds since the start, every few milliseconds.

    Raises:
        RuntimeError: it failed, or took longer than `LIMIT_SECONDS`.
    """
    with log.open("wb") as out:
        began = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | environment, cwd=log.parent)
        while True:
            gone, status, used = os.wait4(child.pid, os.WNOHANG)
            wall = time.perf_counter() - began
            if gone:
                child.returncode = os.waitstatus_to_exitcode(status)
                break
            if tick:
                tick(wall)
            if wall > LIMIT_SECONDS:
                child.kill()
            time.sleep(0.01)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}:\n{log.read_text(errors='replace')[-3000:]}")
    return Ended(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def run_peer(python: Path, script: str, assets: Path, scratch: Path, settings: Mapping[str, Any]) -> Measured:
    """A peer's training, by one of the scripts in `peers/`."""
    empty(scratch)
    job = scratch / "job.json"
    job.write_text(json.dumps({"assets": str(assets.resolve()), "scratch": str(scratch.resolve()), "settings": settings}), encoding="utf-8")
    ended = start([str(python.absolute()), str(HERE / "peers" / script), str(job.resolve())], scratch / "log", ENVIRONMENT)
    answer = json.loads((scratch / "answer.json").read_text(encoding="utf-8"))
    answer |= {name: tuple(answer[name]) for name in ("losses", "marks")}
    return Measured(wall=ended.wall, processor=ended.processor, peak_bytes=ended.peak_bytes, **answer)


def empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


OURS = [sys.executable, "-m", "llmlab.trainer"]
