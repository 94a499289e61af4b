"""The judge, and the recording of one lab's life: made once, so all tests of this folder run in one process."""

from collections.abc import Iterator

import pytest

from tests.node_packages import require
from tests.policies import evaluator
from tests.policies.evaluator import Judge
from tests.policies.life import Recorded, record


@pytest.hookimpl(tryfirst=True)  # before markers are looked at
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks the judge is slow: it needs node and packages of npm."""
    for item in items:
        if "judge" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    require(evaluator.HERE)
    with evaluator.judge() as running:
        yield running


@pytest.fixture(scope="session")
def recorded(judge: Judge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Costs a minute or two: three runs on machines that really run. After `judge`, so that it is not lived where nobody judges."""
    yield from record(tmp_path_factory.mktemp("life"))
