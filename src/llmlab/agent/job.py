"""The agent's job, read once from the work folder and the environment, and the few helpers that every module here needs."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from llmlab import contract
from llmlab.contract import DataFile, Env, Names, RunKeys, Spec, WorkFolder
from llmlab.files import sha256

Say = Callable[[str], None]
PARALLEL = 8


@dataclass(frozen=True)
class Job:
    """One attempt at one run. `deadline` is when the machine is gone, in seconds since 1970."""

    spec: Spec
    attempt: int
    deadline: int
    folder: WorkFolder

    @property
    def run(self) -> str:
        return self.spec.run

    @property
    def keys(self) -> RunKeys:
        return RunKeys(self.spec.run)

    @property
    def names(self) -> Names:
        return Names(self.spec.lab, self.spec.account, self.spec.region)


def read_job(environment: Mapping[str, str]) -> Job:
    """The job that the host has prepared.

    Raises:
        KeyError: a variable is missing.
        ContractError: the spec cannot be read as one.
    """
    folder = WorkFolder(environment[Env.WORK])
    spec = contract.load(Spec, Path(folder.spec).read_bytes())
    return Job(spec, int(environment[Env.ATTEMPT]), int(environment[Env.DEADLINE]), folder)


def is_as(path: Path, wanted: DataFile) -> bool:
    """Whether a file has the size and the SHA-256 that the manifest says."""
    try:
        return path.stat().st_size == wanted.size and sha256(path) == wanted.sha256
    except OSError:
        return False


T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """`work` on all items, several at once, results in order. The first error is raised when all are done."""
    items = list(items)
    if len(items) <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(work, items))
