"""Checkpoints that are whole or absent.

A checkpoint is written into a staging folder, synced, renamed to `checkpoint-N`, and gets its `COMPLETE` file, with size and SHA-256 of
every other file, last. Resuming takes the newest whose every byte is what `COMPLETE` says, and reports which ones it passed over: a newest
folder taken on trust crashes on some kinds of damage, and on others goes on silently and is no longer exact.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llmlab import contract
from llmlab.contract import COMPLETE, Complete, ContractError, DataFile
from llmlab.files import files_below, replace_text, sha256, sync

STAGING = ".staging"


@dataclass(frozen=True)
class ResumePoint:
    """The checkpoint to resume from, and why newer ones cannot be used."""

    newest: Path | None
    step: int
    damaged: tuple[str, ...]


def find(folder: Path, most: int | None = None) -> ResumePoint:
    """The newest checkpoint that is whole, of step `most` or before; step 0 when there is none."""
    damaged: list[str] = []
    for step, path in sorted(_listed(folder), reverse=True):
        if most is not None and step > most:
            continue
        reason = why_not_whole(path)
        if not reason:
            return ResumePoint(path, step, tuple(damaged))
        damaged.append(f"{path.name}: {reason}")
    return ResumePoint(None, 0, tuple(damaged))


def why_not_whole(path: Path) -> str:
    """What is wrong with a checkpoint, or ""."""
    if not (path / COMPLETE).is_file():  # a pipe of this name would be waited at for ever
        return f"it has no {COMPLETE}"
    try:
        complete = contract.load(Complete, (path / COMPLETE).read_bytes())
    except (ContractError, OSError) as error:
        return f"its {COMPLETE} cannot be read: {error}"
    for file in complete.files:
        saved = path / file.path
        if not saved.is_file():
            return f"{file.path} is missing"
        if saved.stat().st_size != file.size:
            return f"{file.path} has {saved.stat().st_size} bytes instead of {file.size}"
        if sha256(saved) != file.sha256:
            return f"{file.path} is not what was saved"
    return ""


def publish(staged: Path, folder: Path, step: int) -> Path:
    """Move a staged checkpoint to its place. A whole one of the same step is left as it is: what is good is never written again."""
    final = folder / contract.checkpoint_name(step)
    if final.is_dir() and not why_not_whole(final):
        shutil.rmtree(staged)
        return final
    files = []
    for file in files_below(staged):
        file.chmod(0o644)
        sync(file)
        files.append(DataFile(file.relative_to(staged).as_posix(), file.stat().st_size, sha256(file)))
    sync(staged)
    shutil.rmtree(final, ignore_errors=True)
    staged.replace(final)
    sync(folder)
    replace_text(final / COMPLETE, contract.dump(Complete(step, tuple(files))), durable=True)
    return final


def keep_newest(folder: Path, count: int, newest: int, best: int = 0) -> None:
    """Remove all but the last `count` up to step `newest`, which was just written, and the best.

    What is beyond it was passed over as damaged, and must not push a good one out. `COMPLETE` goes first, so that a half-removed one is
    never taken for a whole one.
    """
    listed = sorted(_listed(folder), reverse=True)
    kept = [step for step, _ in listed if step <= newest][:count]
    for step, path in listed:
        if step in kept or step == best:
            continue
        with suppress(OSError):  # it may be absent, or no file at all
            (path / COMPLETE).unlink()
        shutil.rmtree(path, ignore_errors=True)


def _listed(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.iterdir() if folder.is_dir() else ():
        step = contract.parse_checkpoint_name(path.name)
        if step is not None and path.is_dir():
            yield step, path
