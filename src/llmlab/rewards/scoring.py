"""The rewards of completions, asked of a process of their own (`child`), which is ended when it does not answer as it must.

The process has no environment, an empty folder to write to, and the seconds that a prompt's completions may take. Whatever it answers is
judged here: it runs what a user wrote.
"""

import json
import math
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from llmlab.errors import DataError, one_line

SOURCE = Path(__file__).parent.parent.parent
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from llmlab.rewards.child import main; main()"
"""An isolated Python reads no variable, so that the folder of this package is an argument."""
START_SECONDS = 60.0
"""For an interpreter to start and for a file to import what it needs."""
MOST_ANSWER_BYTES = 1 << 20
MOST_SCRATCH_BYTES, MOST_SCRATCH_FILES = 256 << 20, 10_000
LOOK_SECONDS = 0.25
"""Between looks at the scratch folder while the process computes."""


class RewardFailed(DataError):
    """A reward did not return a number for each completion."""


@dataclass(frozen=True)
class RewardLimits:
    """Limits for the rewards of one prompt's completions. `memory_gib` is address space, which libraries ask for more than they use."""

    seconds: float = 10.0
    memory_gib: float = 4.0


@dataclass(frozen=True)
class Group:
    """One prompt's completions, as strings or messages like the prompt. `place` names the row in words: `train.jsonl:7`."""

    prompt: Any
    completions: Sequence[Any]
    answer: str
    columns: Mapping[str, Any]
    place: str = ""


class Scorer:
    """A process that computes rewards, as a context.

    `rewards` are objects with the `kind` of a listed reward and its settings, or with the kind `file`, a name and a text.
    """

    def __init__(self, rewards: Sequence[Mapping[str, Any]], limits: RewardLimits | None = None, hint: str = "") -> None:
        self.rewards = tuple(rewards)
        self.limits = limits or RewardLimits()
        self.hint = hint
        self.holds: tuple[str, ...] = ()
        """What keeps the process to itself."""
        self.lacks: tuple[str, ...] = ()
        """What nothing on this system keeps it from."""
        self._process: subprocess.Popen[bytes] | None = None
        self._left = b""

    def __enter__(self) -> Self:
        """Start the process and load the rewards.

        Raises:
            RewardFailed: one cannot be loaded.
        """
        self._scratch = Path(tempfile.mkdtemp(prefix="llmlab-reward-"))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", PROGRAM, str(SOURCE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._scratch,
            env=self._environment(),
            start_new_session=True,
        )
        try:
            for stream in (self._process.stdin, self._process.stdout):
                assert stream is not None
                os.set_blocking(stream.fileno(), False)
            self._load()
        except BaseException:
            self.close()
            raise
        return self

    def _load(self) -> None:
        ready = self._exchange({"rewards": self.rewards, "memory_bytes": int(self.limits.memory_gib * 2**30)}, START_SECONDS, place="")
        if "error" in ready:
            raise self._failure(ready, "", 0)
        self.holds, self.lacks = tuple(ready["holds"]), tuple(ready["lacks"])

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and remove its folder."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def score(self, group: Group) -> list[list[float]]:
        """For each reward a number for each completion.

        Raises:
            RewardFailed: a reward raised, took too long or too much, or answered anything else; the row is named.
        """
        question = {"prompt": group.prompt, "completions": group.completions, "answer": group.answer, "columns": dict(group.columns)}
        answer = self._exchange(question, self.limits.seconds, group.place)
        if "error" in answer:
            raise self._failure(answer, group.place, len(group.completions))
        numbers = answer.get("rewards")
        if not isinstance(numbers, list) or len(numbers) != len(self.rewards):
            raise self._ended("answered what is no list of rewards", group.place)
        return [self._checked(at, values, group) for at, values in enumerate(numbers)]

    def _environment(self) -> dict[str, str]:
        """Nothing of this process's: there may be credentials in it. One thread each, since many rewards are many processes."""
        scratch = str(self._scratch)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        return {"PATH": os.defpath, "HOME": scratch, "TMPDIR": scratch, "LANG": "C.UTF-8", **threads}

    # ------------------------------------------------------------ one line there, one line back

    def _exchange(self, question: Mapping[str, Any], seconds: float, place: str) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        out, into = process.stdin.fileno(), process.stdout.fileno()
        number = secrets.token_hex(8)  # so that what a file itself writes into the pipe is no answer
        pending = memoryview(json.dumps({**question, "number": number}).encode() + b"\n")
        until = time.monotonic() + seconds
        while b"\n" not in self._left:
            left = until - time.monotonic()
            if left <= 0:
                raise self._ended(f"did not end within {seconds:g} seconds", place)
            readable, writable, _ = select.select([into], [out] if pending else [], [], min(left, LOOK_SECONDS))
            if writable:
                try:
                    pending = pending[os.write(out, pending[:65536]) :]
                except BrokenPipeError:
                    pending = pending[:0]
            if readable:
                data = os.read(into, 65536)
                if not data:
                    raise self._ended(self._death(process), place)
                self._left += data
                if len(self._left) > MOST_ANSWER_BYTES:
                    raise self._ended("answered more than can be read", place)
            self._look_at_scratch(place)
        line, _, self._left = self._left.partition(b"\n")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or answer.get("number") != number or self._left:
            raise self._ended("answered what is no list of rewards", place)
        return answer

    def _look_at_scratch(self, place: str) -> None:
        files = size = 0
        for folder, _, names in os.walk(self._scratch):
            for name in names:
                files += 1
                try:
                    size += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - a path each costs more than the look
                except OSError:
                    continue
            if files > MOST_SCRATCH_FILES or size > MOST_SCRATCH_BYTES:
                raise self._ended(f"wrote more than {MOST_SCRATCH_FILES:,} files or {MOST_SCRATCH_BYTES >> 20} MiB", place)

    # ------------------------------------------------------------ what is wrong with it

    def _death(self, process: subprocess.Popen[bytes]) -> str:
        try:
            code = process.wait(1)
        except subprocess.TimeoutExpired:
            return "closed its answers"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended its own process with exit code {code}"

    def _ended(self, what: str, place: str) -> RewardFailed:
        """The failure of a process that is of no further use."""
        names = dict.fromkeys(self.name(at) for at in range(len(self.rewards)))
        self.close()
        return self._error(f"{'rewards' if len(names) > 1 else 'reward'} {' and '.join(names)}", what, place)

    def _failure(self, answer: Mapping[str, Any], place: str, count: int) -> RewardFailed:
        at = answer.get("reward")
        whose = f"reward {self.name(at)}" if isinstance(at, int) and 0 <= at < len(self.rewards) else "rewards"
        detail, kind = one_line(answer.get("detail", "")), answer.get("kind")
        line = f" in line {answer['line']}" if isinstance(answer.get("line"), int) else ""
        if kind == "memory":
            what = f"needs more than {self.limits.memory_gib:g} GiB of memory"
        elif kind == "unfit":
            what = detail
        elif kind == "exit":
            what = f"ended itself: {detail}{line}"
        else:
            what = f"{'cannot be loaded' if answer.get('error') == 'load' else 'raised an error'}: {detail}{line}"
        if count and kind == "unfit":
            what += f", one for each of {count} completions"
        self.close()
        return self._error(whose, what, place)

    def _checked(self, at: int, values: object, group: Group) -> list[float]:
        """A reward's numbers, if that is what they are."""
        if not isinstance(values, list) or len(values) != len(group.completions):
            count = len(values) if isinstance(values, list) else 0
            numbers = f"{count} {'number' if count == 1 else 'numbers'} for {len(group.completions)}"
            raise self._ended(f"returned {numbers} completion{'s' if len(group.completions) != 1 else ''}", group.place)
        return [self._number(at, number, value, group.place) for number, value in enumerate(values)]

    def _number(self, at: int, number: int, value: object, place: str) -> float:
        if type(value) in {int, float}:
            try:
                if math.isfinite(reward := float(value)):  # type: ignore[arg-type]
                    return reward
            except OverflowError:
                pass
            shown = one_line(value)[:40]
        else:
            shown = one_line(value["shown"]) if isinstance(value, dict) and "shown" in value else type(value).__name__
        self.close()
        raise self._error(f"reward {self.name(at)}", f"returned {shown} for completion {number + 1}, which is no finite number", place)

    def name(self, at: int) -> str:
        """What a reward is called in sentences and metrics."""
        reward = self.rewards[at]
        return str(reward["name"] if reward["kind"] == "file" else reward["kind"])

    def _error(self, whose: str, what: str, place: str) -> RewardFailed:
        where = f" ({one_line(place)})" if place else ""
        return RewardFailed(one_line(f"the {whose} {what}{where}"), self.hint)
