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
DISTURBING = 0.15
"""Cores that others may use beside a measurement."""

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "100000",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "68719476736",
    "MALLOC_TOP_PAD_": "268435456",
}
"""What ours and its image set, given to every contestant: without it page faults rule, and threads either crawl beside other work or are
slow to wake."""


@dataclass(frozen=True)
class Measured:
    """`seconds` are those of training alone, by the contestant's own clock; `wall` and `processor` are of the whole process.

    `others` is the processor time that everything else on the machine took meanwhile: figures beside other work tell little.
    """

    seconds: float
    steps: int
    tokens: int
    targets: int
    wall: float
    processor: float
    others: float
    peak_bytes: int
    gpu_bytes: int = 0
    marks: tuple[float, ...] = ()
    """Of a Trainer: the time at the start of each batch, and at the end of the last."""
    losses: tuple[float, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """A process that ended well. Its fields are those of `Measured`."""

    wall: float
    processor: float
    others: float
    peak_bytes: int


def start(command: list[str], log: Path, environment: Mapping[str, str], tick: Callable[[float], None] | None = None) -> Ended:
    """Run a process to its end. `tick` is called with the seconds since the start, every few milliseconds.

    Raises:
        RuntimeError: it failed, or took longer than `LIMIT_SECONDS`.
    """
    with log.open("wb") as out:
        began, busy = time.perf_counter(), busy_seconds()
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
    processor = used.ru_utime + used.ru_stime
    return Ended(wall, processor, max(0.0, busy_seconds() - busy - processor), used.ru_maxrss * 1024)


def busy_seconds() -> float:
    """Processor time of the whole machine so far, with what its host kept from it (Linux, `man 5 proc_stat`; 0 elsewhere)."""
    try:
        numbers = [int(number) for number in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = numbers
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(patience: float = 60.0) -> None:
    """Wait until others take less than `DISTURBING` of a core, or as long as patience lasts, in seconds."""
    until = time.perf_counter() + patience
    while time.perf_counter() < until:
        before = busy_seconds()
        time.sleep(2)
        if busy_seconds() - before < 2 * DISTURBING:
            return


def run_peer(python: Path, script: str, assets: Path, scratch: Path, settings: Mapping[str, Any], epochs: int = 1) -> Measured:
    """A peer's training, by one of the scripts in `peers/`."""
    empty(scratch)
    job = scratch / "job.json"
    told = {"assets": str(assets.resolve()), "scratch": str(scratch.resolve()), "epochs": epochs, "settings": settings}
    job.write_text(json.dumps(told), encoding="utf-8")
    ended = start([str(python.absolute()), str(HERE / "peers" / script), str(job.resolve())], scratch / "log", ENVIRONMENT)
    answer = json.loads((scratch / "answer.json").read_text(encoding="utf-8"))
    answer |= {name: tuple(answer[name]) for name in ("losses", "marks")}
    return Measured(**vars(ended), **answer)


def empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


OURS = [sys.executable, "-m", "llmlab.trainer"]
