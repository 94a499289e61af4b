"""From the work folder to S3: checkpoints, output and logs, as they come and once more at the end.

A checkpoint is whole in S3 when its `COMPLETE` is there, which goes last and only after every file was read back against it here. What
the trainer is still writing has no `COMPLETE` yet and is left alone.
"""

from dataclasses import dataclass, field
from pathlib import Path

from llmlab import contract
from llmlab.agent.job import Job, Say, each, is_as, read
from llmlab.agent.store import Store
from llmlab.contract import Complete, DataFile, LogStream
from llmlab.files import sha256


@dataclass
class Uploads:
    """What was sent already. `newest` is the step of the newest checkpoint that is whole in S3."""

    job: Job
    outputs: Store
    say: Say
    newest: int = 0
    _checkpoints: set[int] = field(default_factory=set)
    _sent: dict[Path, tuple[tuple[int, int], DataFile]] = field(default_factory=dict)
    _logs: dict[LogStream, bytes] = field(default_factory=dict)

    def have(self, step: int) -> None:
        """A checkpoint came from S3 and needs no upload."""
        self._checkpoints.add(step)
        self.newest = max(self.newest, step)

    def everything(self) -> tuple[DataFile, ...]:
        """Checkpoints, output and logs; returns the files of the output."""
        self.checkpoints()
        files = self.output()
        self.logs()
        return files

    def checkpoints(self) -> None:
        """Every whole checkpoint that is not in S3 yet, newest first: it is the one that matters when the time is short."""
        folder = Path(self.job.folder.checkpoints)
        steps = [contract.parse_checkpoint_name(path.parent.name) for path in folder.glob(f"*/{contract.COMPLETE}")]
        for step in sorted({step for step in steps if step is not None} - self._checkpoints, reverse=True):
            self._checkpoint(step, folder / contract.checkpoint_name(step))

    def _checkpoint(self, step: int, folder: Path) -> None:
        text = read(str(folder / contract.COMPLETE))
        try:
            complete = contract.load(Complete, text)
        except contract.ContractError as error:
            self.say(f"checkpoint {step} is left alone: {error}")
            return
        if not all(each(lambda file: self._is_ours(folder / file.path) and is_as(folder / file.path, file), complete.files)):
            self.say(f"checkpoint {step} is left alone: it is not what its {contract.COMPLETE} says")
            return
        prefix = self.job.keys.checkpoint(step)
        if self.outputs.read(prefix + contract.COMPLETE) == text.encode():
            self.have(step)
            return
        try:
            each(lambda file: self.outputs.send(folder / file.path, prefix + file.path), complete.files)
        except OSError as error:  # the trainer removed an old checkpoint meanwhile: a newer one has come
            self.say(f"checkpoint {step} went away: {error}")
            return
        self.outputs.write(prefix + contract.COMPLETE, text.encode())
        self.have(step)
        self.say(f"checkpoint {step} is saved: {sum(file.size for file in complete.files) / 1e6:.1f} MB")

    def output(self) -> tuple[DataFile, ...]:
        """Every file of the output folder that changed; returns all of them as they are in S3."""
        folder = Path(self.job.folder.output)
        paths = sorted(path for path in folder.rglob("*") if self._is_ours(path) and not _unfinished(path.relative_to(folder)))
        return tuple(file for file in each(lambda path: self._output(folder, path), paths) if file is not None)

    def _is_ours(self, path: Path) -> bool:
        """A file that really lies in the work folder: a link of the training container's may lead to what only we can read."""
        return path.is_file() and path.resolve().is_relative_to(Path(self.job.folder.root).resolve())

    def _output(self, folder: Path, path: Path) -> DataFile | None:
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if path not in self._sent or self._sent[path][0] != stamp:
                name = path.relative_to(folder).as_posix()
                digest = sha256(path)
                version = self.outputs.send(path, self.job.keys.output + name)
                self._sent[path] = (stamp, DataFile(name, status.st_size, digest, version))
        except FileNotFoundError:
            return None
        return self._sent[path][1]

    def logs(self) -> None:
        """The host's, the trainer's and our own log, as far as they have got."""
        for stream in (LogStream.SETUP, LogStream.TRAINING, LogStream.AGENT):
            path = Path(self.job.folder.logs) / f"{stream}.log"
            text = path.read_bytes() if path.exists() else b""
            if text and self._logs.get(stream) != text:
                self.outputs.write(self.job.keys.log(stream, self.job.attempt), text)
                self._logs[stream] = text


def _unfinished(path: Path) -> bool:
    """Names that the trainer gives to what it is still writing."""
    return any(part.startswith(".") or part.endswith((".part", ".new", ".tmp")) for part in path.parts)
