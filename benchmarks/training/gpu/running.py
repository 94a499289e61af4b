"""Parts one after another, each in a process and a limit of its own, their results appended to a file as they come.

On a GPU a part is a new interpreter: importing PEFT imports bitsandbytes, which asks CUDA how many GPUs there are, and no fork survives
that (https://docs.pytorch.org/docs/2.13/notes/multiprocessing.html#cuda-in-multiprocessing). On a CPU it is forked from a process that has
imported all of it, which saves seconds a part. It leads a process group, so that what it started ends with it. What it finds out it writes
itself, a line at a time; so whatever ends it, and whoever ends the whole, what was found out until then is there.
"""

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AS_PART = "--as-part"
REASON = 300
"""Letters of a reason that are kept of it."""


class Skipped(Exception):
    """A part, or the rest of it, cannot be done here; the words say why."""


@dataclass(frozen=True)
class Job:
    """What a part is given. `device` is torch's name, `folder` is for its files, `seconds` is how long it may take."""

    device: str
    folder: Path
    peers: Path
    seconds: float = 0.0

    @property
    def on_cpu(self) -> bool:
        return self.device == "cpu"


class Tell:
    """Appends the rows of one part to the report, each on the disk before the next is begun."""

    def __init__(self, report: Path, part: str) -> None:
        self.report, self.part = report, part

    def check(self, name: str, passed: bool, says: str) -> None:
        """Something that must hold."""
        self._add(check=name, passed=bool(passed), says=" ".join(says.split())[:REASON])

    def figure(self, what: str, /, **values: Any) -> None:
        """Something that was measured, without a limit."""
        self._add(figure=what, **values)

    def skip(self, name: str, why: str) -> None:
        """A piece of the part that cannot be done here."""
        self._add(skipped=name, why=" ".join(why.split())[:REASON])

    def end(self, how: str, seconds: float, why: str = "") -> None:
        self._add(end=how, seconds=round(seconds, 2), **({"why": " ".join(why.split())[:REASON]} if why else {}))

    def _add(self, **row: Any) -> None:
        with self.report.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"part": self.part, **row}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())


Work = Callable[[Job, Tell], None]


@dataclass(frozen=True)
class Part:
    """`share` is of the minutes. `cpu` is why a CPU cannot do it, "" where it can. The first sentence of `run`'s module is what it asks."""

    name: str
    share: float
    run: Work
    cpu: str = ""

    @property
    def asks(self) -> str:
        return (sys.modules[self.run.__module__].__doc__ or "").splitlines()[0].rstrip(".")


def limits(parts: Sequence[Part], seconds: float) -> list[float]:
    """What each part may take if those before it take all of theirs."""
    whole = sum(part.share for part in parts)
    return [seconds * part.share / whole for part in parts]


Be = Callable[[Part, Job, Tell], int]
"""Being a part, in a process of its own; its exit code."""


def play(parts: Sequence[Part], job: Job, report: Path, seconds: float, heard: Callable[[str], None], be: Be | None = None) -> None:
    """Run every part. One that ends early, fails or is killed leaves its seconds to those after it."""
    until = time.monotonic() + seconds
    for at, part in enumerate(parts):
        tell = Tell(report, part.name)
        limit = limits(parts[at:], until - time.monotonic())[0]
        heard(f"{part.name}: {part.asks} (at most {max(0.0, limit):.0f} s)")
        if job.on_cpu and part.cpu:
            tell.end("skipped", 0.0, part.cpu)
        elif limit <= 0:
            tell.end("skipped", 0.0, "the minutes are used up")
        else:
            _play(part, Job(job.device, job.folder, job.peers, limit), tell, be or work)


def _play(part: Part, job: Job, tell: Tell, be: Be) -> None:
    began = time.monotonic()
    log = job.folder / f"{part.name}.log"
    child = os.fork()
    if not child:
        os._exit(_be(part, job, tell, log, be))
    watched = os.pidfd_open(child)
    try:
        over, _, _ = select.select([watched], [], [], job.seconds)
    finally:  # an interrupted script leaves nobody behind
        os.close(watched)
        _end(child)
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if not over:
        tell.end("killed", seconds, f"it took more than {job.seconds:.0f} s")
    elif code < 0:
        tell.end("failed", seconds, f"{signal.Signals(-code).name}: {_last_line(log)}")
    elif code:
        tell.end("failed", seconds, f"it left with {code}: {_last_line(log)}")


def _be(part: Part, job: Job, tell: Tell, log: Path, be: Be) -> int:
    """The part's own process, whose words go to its log."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with log.open("w", encoding="utf-8", buffering=1) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        sys.stdout = sys.stderr = out
        try:
            return be(part, job, tell)
        except BaseException:  # noqa: BLE001 - nothing of the parent's may go on in the child
            traceback.print_exc(file=out)
            return 1


def work(part: Part, job: Job, tell: Tell) -> int:
    """Do a part's work and say how it ended; 0 when that is said."""
    began = time.monotonic()
    try:
        part.run(job, tell)
    except Skipped as skipped:
        tell.end("skipped", time.monotonic() - began, str(skipped))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the other parts go on
        traceback.print_exc()
        tell.end("failed", time.monotonic() - began, f"{type(error).__name__}: {error}")
    else:
        tell.end("done", time.monotonic() - began)
    return 0


def renew(part: Part, job: Job, tell: Tell) -> int:
    """Go on as a new interpreter, which does the part's work."""
    told = {"part": part.name, "device": job.device, "folder": str(job.folder), "peers": str(job.peers), "seconds": job.seconds}
    command = [sys.executable, "-m", "benchmarks.training.gpu", AS_PART, json.dumps({**told, "report": str(tell.report)})]
    os.execv(sys.executable, command)


def told(parts: Sequence[Part], words: str) -> tuple[Part, Job, Tell]:
    """What `renew` hands on."""
    facts = json.loads(words)
    part = next(part for part in parts if part.name == facts["part"])
    return part, Job(facts["device"], Path(facts["folder"]), Path(facts["peers"]), facts["seconds"]), Tell(Path(facts["report"]), part.name)


def _end(child: int) -> None:
    """The part and what it has started. Until it is waited for its number, and its group's, is its own."""
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except ProcessLookupError:  # it has not made its group yet, or is over
            continue


def _last_line(log: Path) -> str:
    try:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        return "without a word"
    return lines[-1] if lines else "without a word"


def read(report: Path) -> list[dict[str, Any]]:
    """The rows of the newest run in a report; a line that was cut is left out."""
    rows: list[dict[str, Any]] = []
    for line in report.read_text(encoding="utf-8").splitlines() if report.is_file() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows = [row] if row.get("began") else [*rows, row]
    return rows


def wrong(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What did not hold, and parts that did not come to their end."""
    checks = [f"{row['part']}: {row['check']}: {row['says']}" for row in rows if row.get("passed") is False]
    ends = [f"{row['part']}: {row['end']}: {row['why']}" for row in rows if row.get("end") in {"failed", "killed"}]
    return [*checks, *ends]
