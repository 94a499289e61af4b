"""One small random model for the whole folder, and a way to train on it in this process, so that torch is imported once."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmlab.clock import Clock
from llmlab.contract import Env, WorkFolder
from tests.trainer import work as folders
from tests.trainer.stable import Stable

os.environ.setdefault("OMP_NUM_THREADS", "1")  # so small a model only waits for a second thread

Train = Callable[..., tuple[int, str]]


@pytest.fixture(scope="session", autouse=True)
def _libraries() -> None:
    """The training libraries warn about each other when they are imported; that happens here, once."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import peft  # noqa: F401 - imported for its imports

        import llmlab.trainer.training.training_loop  # noqa: F401 - likewise


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sandbox's model, smaller and with random weights."""
    import warnings

    from llmlab.sandbox.model import make

    folder = tmp_path_factory.mktemp("model") / "tiny"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make(folder, steps=0, hidden=32, layers=2)
    return folder


@pytest.fixture(scope="session")
def train() -> Train:
    """The real entry point in this process: exit code and training log."""
    from llmlab.trainer.__main__ import main

    def run(work: WorkFolder, clock: Clock | None = None) -> tuple[int, str]:
        out = io.StringIO()
        code = main({Env.WORK: work.root}, clock, out)
        return code, out.getvalue()

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, model: Path, train: Train) -> WorkFolder:
    """A run that has learned, with its adapter and an evaluation: for tests that only read it."""
    recipe = {"epochs": 3, "learning_rate": 0.02, "evaluation": {"share": 0.2}}
    work = folders.make(tmp_path_factory.mktemp("trained"), model, count=16, recipe=recipe)
    code, log = train(work)
    assert code == 0, log
    return work


@pytest.fixture(scope="session")
def stable() -> Iterator[Stable]:
    """Trainings in processes of their own, without the seconds that importing torch takes."""
    with Stable() as one:
        yield one
