"""From the work folder to S3: checkpoints, output and logs, as they come and once more at the end.

A checkpoint is whole in S3 when its `COMPLETE` is there, which goes last and only after every file was read back against it here. What
the trainer is still writing has no `COMPLETE` yet and is left alone. An entry that is no regular file stays here, and is reported once.
"""

from dataclasses import dataclass, field

from llmlab import contract
from llmlab.agent import log_upload, shared_files
from llmlab.agent.job import Job, Say, each
from llmlab.agent.s3_store import Store, StoreError, UploadRefused
from llmlab.agent.shared_files import RegularFile, is_left_out
from llmlab.contract import Complete, DataFile


@dataclass
class Uploads:
    """Uploads what is new. `newest` is the step of the newest checkpoint that is whole in S3, `taken` the bytes that S3 took."""

    job: Job
    outputs: Store
    say: Say
    newest: int = 0
    taken: int = 0
    _checkpoints: set[int] = field(default_factory=set)
    _sent: dict[str, tuple[tuple[int, int], DataFile]] = field(default_factory=dict)
    _logs: log_upload.LogUploadSchedule = field(default_factory=log_upload.LogUploadSchedule)
    _told: set[str] = field(default_factory=set)

    def have(self, step: int) -> None:
        """A checkpoint came from S3 and needs no upload."""
        self._checkpoints.add(step)
        self.newest = max(self.newest, step)

    def everything(self) -> None:
        """Upload checkpoints, output and logs, as they are due while the trainer trains."""
        self.checkpoints()
        self.output()
        if self._logs.next():
            self.logs()

    def checkpoints(self) -> None:
        """Upload every whole checkpoint that is not in S3 yet, newest first: it is the one that matters when the time is short."""
        paths, _ = shared_files.files(self.job.folder.results, self._within(self.job.folder.checkpoints))
        whole = {path.removesuffix(f"/{contract.COMPLETE}") for path in paths if path.endswith(f"/{contract.COMPLETE}")}
        steps = {step for step in map(contract.parse_checkpoint_name, whole) if step is not None}
        for step in sorted(steps - self._checkpoints, reverse=True):
            self._checkpoint(step)

    def _checkpoint(self, step: int) -> None:
        folder = f"{self._within(self.job.folder.checkpoints)}/{contract.checkpoint_name(step)}"
        text = self._file(folder, contract.COMPLETE).read()
        try:
            complete = contract.load(Complete, text)
        except contract.ContractError as error:
            self._tell_once(f"checkpoint {step} is left alone: {error}")
            return
        if not all(each(lambda file: self._file(folder, file.path).is_as(file), complete.files)):
            self._tell_once(f"checkpoint {step} is left alone: it is not what its {contract.COMPLETE} says")
            return
        prefix = self.job.keys.checkpoint(step)
        if self.outputs.read(prefix + contract.COMPLETE) == text:
            self.have(step)
            return
        try:
            each(lambda file: self._send(self._file(folder, file.path), prefix + file.path), complete.files)
        except OSError as error:  # the trainer removed an old checkpoint meanwhile: a newer one has come
            self._tell_once(f"checkpoint {step} went away: {error}")
            return
        self.outputs.write(prefix + contract.COMPLETE, text)
        self.have(step)
        self.say(f"checkpoint {step} is saved: {sum(file.size for file in complete.files) / 1e6:.1f} MB")

    def output(self) -> tuple[DataFile, ...]:
        """Upload every file of the output folder that changed; returns all of them as they are in S3.

        Raises:
            StoreError: of a file that S3 may still take, before one of a file that it never will; every file was tried.
        """
        folder = self._within(self.job.folder.output)
        paths, others = shared_files.files(self.job.folder.results, folder)
        for other in others:
            self._tell_once(f"left out of the output: {other}")
        wanted = self._listable([path for path in paths if not _unfinished(path)])
        tried = each(lambda path: self._tried(folder, path), wanted)
        failed = [upload for upload in tried if isinstance(upload, StoreError)]
        if failed:
            raise min(failed, key=lambda error: isinstance(error, UploadRefused))
        return tuple(upload for upload in tried if isinstance(upload, DataFile))

    def taken_files(self) -> tuple[DataFile, ...]:
        """The output files that S3 has, also where it does not take all."""
        return tuple(file for _, (_, file) in sorted(self._sent.items()))

    def _tried(self, folder: str, path: str) -> DataFile | StoreError | None:
        try:
            return self._output(folder, path)
        except StoreError as error:
            return error

    def _listable(self, paths: list[str]) -> list[str]:
        """The first paths, as far as the run's marker has room for their names: its readers read no more than a limit."""
        room = contract.DOCUMENT_BYTES // 2
        for index, path in enumerate(paths):
            room -= len(path.encode()) + LISTED_BYTES
            if room < 0:
                self._tell_once(
                    f"left out of the output: the last {len(paths) - index} of {len(paths)} files, which the marker cannot name"
                )
                return paths[:index]
        return paths

    def _output(self, folder: str, path: str) -> DataFile | None:
        file = self._file(folder, path)
        try:
            stamp = file.stamp()
            if path not in self._sent or self._sent[path][0] != stamp:
                digest = file.sha256()
                version = self._send(file, self.job.keys.output + path)
                self._sent[path] = (stamp, DataFile(path, stamp[1], digest, version))
        except OSError as error:
            if not is_left_out(error):
                raise StoreError(f"{path} cannot be read: {error}") from error
            if not isinstance(error, FileNotFoundError):  # such as one that the trainer has just replaced
                self._tell_once(f"left out of the output: {path!r}: {error.strerror or error}")
            return None
        return self._sent[path][1]

    def logs(self) -> None:
        """Upload the host's, the trainer's and our own log, as far as they have got; none that S3 has already."""
        for stream in log_upload.STREAMS:
            now = log_upload.log(self.job.folder.logs, stream)
            if now.files and self._logs.sent.get(stream) != now:
                self.outputs.write(self.job.keys.log(stream, self.job.attempt), now.kept())
                self._logs.sent[stream] = now

    def _within(self, path: str) -> str:
        """A path as it is within the folder of results, which the training container cannot replace."""
        return path.removeprefix(f"{self.job.folder.results}/")

    def _file(self, folder: str, path: str) -> RegularFile:
        return RegularFile(self.job.folder.results, f"{folder}/{path}")

    def _send(self, file: RegularFile, key: str) -> str:
        return self.outputs.send(file, key, self._take)

    def _take(self, count: int) -> None:
        self.taken += count

    def _tell_once(self, words: str) -> None:
        if words not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(words)
            self.say(words)


MOST_TOLD = 1000
LISTED_BYTES = 250
"""Bytes of a file in a marker, beside its name: its size, SHA-256 and version, and the words between."""


def _unfinished(path: str) -> bool:
    """Names that the trainer gives to what it is still writing."""
    return any(part.startswith(".") or part.endswith((".part", ".new", ".tmp")) for part in path.split("/"))
