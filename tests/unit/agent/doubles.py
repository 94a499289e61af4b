"""A machine for the agent to work on: a folder, a bucket in memory, IMDS by hand, a clock that moves when told."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from llmlab import contract
from llmlab.agent.gpu import Fault, GpuUse
from llmlab.agent.job import Job
from llmlab.agent.loop import Agent
from llmlab.agent.s3_store import ObjectMissing, StoreError, Took, UploadRefused
from llmlab.agent.shared_files import RegularFile
from llmlab.agent.uploads import Uploads
from llmlab.clock import ManualClock
from llmlab.contract import Attempt, AttemptEnd, Complete, DataFile, Manifest, Metric, Pool, PricePoint, Spec, WorkFolder

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RUN = "20261123-120000-ab12"


@dataclass
class MemoryStore:
    """A versioned bucket. `broken` keys cannot be written, `refused` ones for a reason: code and words; `order` is what was written."""

    objects: dict[str, list[bytes]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    on_send: Callable[[str], None] = lambda key: None

    def read(self, key: str) -> bytes | None:
        return self.objects[key][-1] if key in self.objects else None

    def write(self, key: str, body: bytes) -> None:
        self.put(key, body)

    def load(self, kind: type[Any], key: str) -> Any:
        return self.document(kind, key)

    def write_once(self, key: str, document: Any) -> bool:
        if key in self.objects:
            return False
        self.put(key, contract.encode(document))
        return True

    def send(self, file: RegularFile, key: str, took: Took) -> str:
        self.on_send(key)
        with file.open() as stream:
            body = stream.read()
        version = self.put(key, body)
        took(len(body))
        return version

    def fetch(self, key: str, version: str, file: Path) -> None:
        if key not in self.objects or (version and int(version) >= len(self.objects[key])):
            raise ObjectMissing(f"there is no {key}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.objects[key][int(version) if version else -1])

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.objects if key.startswith(prefix))

    def put(self, key: str, body: bytes) -> str:
        if any(key.startswith(start) for start in self.broken):
            raise StoreError(f"{key} cannot be written")
        for start, (code, says) in self.refused.items():
            if key.startswith(start):
                raise UploadRefused(f"{key} cannot be written: {says}", code, says)
        self.objects.setdefault(key, []).append(body)
        self.order.append(key)
        return str(len(self.objects[key]) - 1)

    def document(self, kind: type[Any], key: str) -> Any:
        body = self.read(key)
        return None if body is None else contract.load(kind, body)


@dataclass
class ManualImds:
    notice: datetime | None = None

    def interruption(self) -> datetime | None:
        return self.notice

    def instance(self) -> str:
        return "i-1"

    def place(self) -> tuple[str, str]:
        return "g6.xlarge", "us-east-1a"


@dataclass
class ManualGpus:
    use: GpuUse | None = None
    wrong: Fault | None = None

    def read(self) -> GpuUse | None:
        return self.use

    def fault(self) -> Fault | None:
        return self.wrong


@dataclass
class ManualMarket:
    """The prices of our pool as they are now. `asked` is when they were looked at; `away` AWS does not tell."""

    clock: ManualClock
    points: tuple[PricePoint, ...] = ()
    away: bool = False
    asked: list[datetime] = field(default_factory=list)

    def history(self, instance_type: str, zone: str, since: datetime) -> tuple[PricePoint, ...]:
        self.asked.append(self.clock.now())
        if self.away:
            raise StoreError("no prices")
        now = contract.build_timestamp(self.clock.now())
        return tuple(point for point in self.points if point.at <= now)


@dataclass
class ListedNumbers:
    published: list[dict[Metric, float]] = field(default_factory=list)

    def publish(self, values: Mapping[Metric, float]) -> None:
        self.published.append(dict(values))


@dataclass
class Inline:
    """Background work done at once; an error is said, as the threads do. `late` names are never done in time."""

    said: list[str]
    late: set[str] = field(default_factory=set)

    def start(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except (StoreError, OSError) as error:
            self.said.append(f"{name}: {error}")

    def within(self, name: str, seconds: float, work: Callable[[], object], going: Callable[[], bool] = lambda: True) -> bool:
        if name in self.late:
            return False
        self.start(name, work)
        return True


class ScriptedClock(ManualClock):
    """Does things at given seconds after the start, as the trainer or AWS would. `until` guards against a test that never ends."""

    def __init__(self, start: datetime, script: dict[float, Callable[[], object]], until: float = 100_000) -> None:
        super().__init__(start)
        self.start = start
        self.script = dict(script)
        self.until = until

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        passed = (self.time - self.start).total_seconds()
        assert passed < self.until, "the agent waits for ever"
        for moment in [moment for moment in self.script if moment <= passed]:
            self.script.pop(moment)()


@dataclass
class Machine:
    """Everything around one agent."""

    root: Path
    outputs: MemoryStore
    data: MemoryStore
    imds: ManualImds
    market: ManualMarket
    gpus: ManualGpus
    numbers: ListedNumbers
    clock: ScriptedClock
    said: list[str]
    background: Inline
    job: Job
    attempt: Attempt

    @property
    def agent(self) -> Agent:
        uploads = Uploads(self.job, self.outputs, self.said.append)
        return Agent(
            self.job, self.outputs, self.imds, self.market, self.gpus, self.numbers, self.background, self.clock, self.said.append,
            uploads, self.attempt, "i-1",
        )  # fmt: skip

    @property
    def end(self) -> AttemptEnd:
        """How the attempt ended."""
        found = self.outputs.document(AttemptEnd, self.job.keys.attempt_end(self.job.attempt))
        assert isinstance(found, AttemptEnd)
        return found

    def at(self, seconds: float, action: Callable[[], object]) -> None:
        self.clock.script[seconds] = action

    def control(self, path: str, content: Any) -> None:
        text = content if isinstance(content, str) else contract.dump(content)
        Path(path).write_text(text, encoding="utf-8")

    def leave(self, code: int, *, killed: bool = False) -> None:
        self.control(self.job.folder.training_exit, f"{code} {str(killed).lower()}\n")

    def checkpoint(self, step: int, content: str = "weights") -> Path:
        return write_checkpoint(Path(self.job.folder.checkpoints), step, content)


def write_checkpoint(folder: Path, step: int, content: str = "weights") -> Path:
    """A whole checkpoint as the trainer leaves it."""
    place = folder / contract.checkpoint_name(step)
    (place / "state").mkdir(parents=True)
    files = []
    for name, text in {"model.safetensors": f"{content} {step}", "state/rng.pth": f"rng {step}"}.items():
        (place / name).write_text(text)
        files.append(data_file(name, text.encode()))
    (place / contract.COMPLETE).write_text(contract.dump(Complete(step, tuple(files))))
    return place


def data_file(path: str, body: bytes, version: str = "") -> DataFile:
    return DataFile(path, len(body), hashlib.sha256(body).hexdigest(), version)


def machine(
    root: Path,
    *,
    hours: float = 1.0,
    files: tuple[DataFile, ...] = (),
    number: int = 1,
    spec: Mapping[str, Any] | None = None,
    **attempt: Any,
) -> Machine:
    """A machine whose host has prepared everything. `spec` and `attempt` are what differs from the usual ones."""
    folder = WorkFolder(str(root))
    for place in (folder.data, folder.model, folder.checkpoints, folder.output, folder.control, folder.host, folder.logs):
        Path(place).mkdir(parents=True)
    usual = Spec(
        run=RUN, lab="lab", region="us-east-1", account="123456789012", recipe={}, data=Manifest("d", files, ""), image="i", ami="",
        launch_template="t", pools=(Pool("g6.xlarge", "us-east-1a", "s", 0.8, 0.3),), spot=True, max_hours=hours, created="",
    )  # fmt: skip
    deadline = int((START + timedelta(hours=hours)).timestamp())
    at = contract.build_timestamp(START)
    claim = Attempt(RUN, number, at, deadline, spot=True, by="launch", max_hours=hours, instance="i-1", price=0.3, launched=at)
    said: list[str] = []
    clock = ScriptedClock(START, {})
    made = Machine(
        root, MemoryStore(), MemoryStore(), ManualImds(), ManualMarket(clock), ManualGpus(GpuUse(90.0, 10.0)), ListedNumbers(), clock, said,
        Inline(said), Job(dataclasses.replace(usual, **(spec or {})), number, deadline, folder), dataclasses.replace(claim, **attempt),
    )  # fmt: skip
    made.outputs.write(made.job.keys.attempt(number), contract.dump(made.attempt).encode())
    return made
