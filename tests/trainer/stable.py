"""`python -m tests.trainer.stable`: trainings by fork from one process that has imported torch, which takes seconds, and done nothing yet.

It reads a job a line and answers each with a line. A job is one training, of one or several processes, left alone or shot after a while.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from llmlab.contract import Env, WorkFolder

HERE = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Job:
    """A training in `work`. `signal` goes to the first process `after` seconds of it; `fails` is the rank that fails at its second step."""

    work: str
    processes: int = 1
    after: float | None = None
    signal: int = 0
    fails: int | None = None


@dataclass(frozen=True)
class Done:
    """Exit codes by rank (negative: the signal that ended it), and how long it took."""

    codes: list[int]
    seconds: float
    staging: bool
    """Whether a checkpoint was being written when it ended."""


class Stable:
    """The client's side. The process goes when it is closed."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{HERE / 'src'}:{HERE}"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.trainer.stable"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.communicate()

    def run(self, work: WorkFolder, **asked: Any) -> tuple[Done, str]:
        """Run a job; returns how it ended and the training log of the first process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(asdict(Job(work.root, **asked))) + "\n")
        self._process.stdin.flush()
        done = Done(**json.loads(self._process.stdout.readline()))
        log = log_of(work.root, 0)
        return done, log.read_text() if log.is_file() else "killed before its first word"


def log_of(work: str, rank: int) -> Path:
    return Path(work, f"log-{rank}.txt")


def serve() -> None:
    import warnings

    warnings.simplefilter("ignore")
    import peft  # noqa: F401 - imported for its imports

    for line in sys.stdin:
        done = run(Job(**json.loads(line)))
        sys.stdout.write(json.dumps(asdict(done)) + "\n")
        sys.stdout.flush()


def run(job: Job) -> Done:
    began = time.perf_counter()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [fork(job, rank, port) for rank in range(job.processes)]
    if job.after is not None:
        first = os.pidfd_open(children[0])
        select.select([first], [], [], max(0.0, job.after - (time.perf_counter() - began)))
        os.close(first)
        os.kill(children[0], job.signal)  # until it is waited for below, its number is its own
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    staging = Path(WorkFolder(job.work).checkpoints, ".staging")
    return Done(codes, time.perf_counter() - began, staging.is_dir() and any(staging.iterdir()))


def fork(job: Job, rank: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        code = train(job, rank, port)
    finally:
        os._exit(code)


def train(job: Job, rank: int, port: int) -> int:
    from llmlab.trainer.__main__ import main

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    environment = {str(Env.WORK): job.work}
    if job.processes > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(job.processes)}
    if rank == job.fails:
        plant()
    with log_of(job.work, rank).open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        return main(environment, None, log)


def plant() -> None:
    from llmlab.trainer.training.training_loop import Loop

    move = Loop._move

    def failing(self: Loop, rate: float) -> float:
        if self.state.step == 1:
            raise ArithmeticError("planted")
        return move(self, rate)

    Loop._move = failing  # type: ignore[method-assign]


if __name__ == "__main__":
    serve()
