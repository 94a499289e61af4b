"""Fixtures shared by all tests: an `Aws` on moto in this process, and a running sandbox. Nothing here may reach a real account."""

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

import llmlab
from llmlab.contract import PROJECT
from llmlab.errors import LabError
from tests import hints, service_models

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

    from llmlab.aws.session import Aws
    from llmlab.sandbox.server import Sandbox

REGION = "us-east-1"
FAKE = {
    "AWS_ACCESS_KEY_ID": "AKIASANDBOXTESTS0000",
    "AWS_SECRET_ACCESS_KEY": "sandbox",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
UNSET = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_EC2_METADATA_SERVICE_ENDPOINT")

hypothesis.settings.register_profile("llmlab", deadline=None)  # how long an example takes says more about the machine than about us
hypothesis.settings.register_profile("quick", deadline=None, max_examples=20)  # of `make test`
hypothesis.settings.load_profile("llmlab")
service_models.share()


UNASKED = "needs --docker, as in make e2e: Linux, root and the packages of .ci/debian-packages"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--docker", action="store_true", help="run the tests on machines that are containers: Linux, root, minutes of building"
    )
    parser.addoption("--hints", action="store_true", help="run each form of hint that a test's command line shows, where it is shown")
    parser.addoption("--hours", action="store_true", help="run the tests that `make prove` alone runs, minutes each")
    parser.addoption("--live", action="store_true", help="run the tests that need an AWS account, and cost money")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--docker") and (missing := docker_missing()):
        raise pytest.UsageError(missing)
    hints.LEDGER.running = config.getoption("--hints")


TOGETHER = (
    "tests/docker/", "tests/faults/", "tests/policies/", "tests/workflows/",
    "tests/laws/test_new_resource.py", "tests/simulation/test_schedules.py", "tests/trainer/test_merge.py",
)  # fmt: skip
"""Whose tests share what is made once: an engine and its machines, plays of faults, the record of a life, npm's packages,
a source with one more resource, an adapter."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "LoadScopeScheduling":
    """Each of those to one worker, every other test to whoever is free."""
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((place for place in TOGETHER if nodeid.startswith(place)), nodeid)

    return ByFolder(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests first, so that no worker is alone with one in the end; and what was not asked for is skipped."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if not config.getoption("--docker"):
        for item in items:
            if item.get_closest_marker("docker"):
                item.add_marker(pytest.mark.skip(reason=UNASKED))
    if not config.getoption("--hours"):
        for item in items:
            if item.get_closest_marker("hours"):
                item.add_marker(pytest.mark.skip(reason="needs --hours, as in make prove: minutes each"))
    if not config.getoption("--live"):
        for item in items:
            if item.get_closest_marker("live"):  # not a folder of this name
                item.add_marker(pytest.mark.skip(reason="needs --live and an AWS account"))


def pytest_collection_finish() -> None:
    """What is there now stays, and a test makes much that is gone when it ends: looking for cycles less often takes a tenth less time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


SOURCE = str(Path(llmlab.__file__).parent)


@pytest.fixture(scope="session", autouse=True)
def errors_are_heard() -> Iterator[None]:
    """The hint of every error that the program makes in this process is a line that parses."""
    make = LabError.__init__

    def heard(self: LabError, message: str, hint: str = "", *more: Any, **options: Any) -> None:
        make(self, message, hint, *more, **options)
        frame = sys._getframe(1)
        while frame.f_code.co_name == "__init__" and frame.f_back:
            frame = frame.f_back
        if hint and frame.f_code.co_filename.startswith(SOURCE):
            hints.LEDGER.made(hint)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LabError, "__init__", heard)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    yield
    hints.LEDGER.verify()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker's hints go to who asked for it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["hints"] = hints.LEDGER.packed()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    hints.LEDGER.take(getattr(node, "workeroutput", {}).get("hints", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if hints.LEDGER.heard:
        terminalreporter.write_line(f"hints: {hints.LEDGER.counts()}")


def docker_missing() -> str:
    """What keeps the sandbox's machines from being containers here; "" when nothing does."""
    from llmlab.sandbox.estate import requirements

    try:
        requirements.check()
    except LabError as error:
        return f"{error}: {error.hint}"
    return ""


@pytest.fixture(scope="session", autouse=True)
def no_real_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fake credentials, no AWS files, no settings of the user's, for the whole session."""
    before = dict(os.environ)
    os.environ.update(FAKE, HOME=str(tmp_path_factory.mktemp("home")), XDG_STATE_HOME=str(tmp_path_factory.mktemp("state")))
    for name in [*UNSET, *(name for name in os.environ if name.startswith("LLMLAB_"))]:
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def _calls() -> list[str]:
    return []


@pytest.fixture(scope="session")
def _aws(_calls: list[str]) -> "Aws":
    """One session for all tests: a fresh one costs 300 ms, most of it reading botocore's models."""
    from llmlab.sandbox.completion import complete

    complete()  # before the first client, so that it is born mocked

    from llmlab.aws.session import Aws

    return Aws(REGION, lab=PROJECT, before_call=_calls.append)


@pytest.fixture
def recorder(_calls: list[str]) -> list[str]:
    """Every call that `lab_aws` makes in this test, as `service:Operation`."""
    _calls.clear()
    return _calls


@pytest.fixture
def lab_aws(_aws: "Aws", recorder: list[str]) -> Iterator["Aws"]:
    """An `Aws` on an empty account in this process."""
    from moto import mock_aws

    with mock_aws(config={"core": {"mock_credentials": False, "reset_boto3_session": False}}):
        yield _aws


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def _sandbox() -> Iterator["Sandbox"]:
    """One sandbox for the session: starting one costs some two seconds, most of it importing moto."""
    from llmlab.sandbox.server import Sandbox

    running = Sandbox.start(attached=True)
    yield running
    running.stop()


@pytest.fixture
def sandbox(_sandbox: "Sandbox", monkeypatch: pytest.MonkeyPatch) -> Iterator["Sandbox"]:
    """A running sandbox, empty, with every client of this test led into it. Its clock may be ahead of this machine's."""
    for name, value in _sandbox.environment().items():
        monkeypatch.setenv(name, value)
    _sandbox.reset()
    yield _sandbox
    _sandbox.reset()
