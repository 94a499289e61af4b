"""A process of the command line that SIGKILL ends in the middle: the same line once more does it, nothing twice and nothing left over.

Where each of all calls is the last one is `tests/faults`' table, whose kills leave a copy of the account; these are processes that die.
Slow: some fifteen processes of the command line, one after another.
"""

import hashlib
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs

import pytest

import llmlab
from llmlab import contract
from llmlab.aws.session import Aws
from llmlab.clock import ManualClock, SystemClock
from llmlab.contract import PROJECT, DataFile, EndReason, Marker, RunKeys, dataset_prefix
from llmlab.lifecycle import one_time_schedules
from llmlab.sandbox import registry
from llmlab.sandbox.service import Service
from llmlab.watchdog import events
from tests.account import everything
from tests.cli.conftest import put_image
from tests.conftest import FAKE
from tests.faults import laws
from tests.faults.before import ADAPTER, BOOTSTRAP, LAUNCH, LINE, TEARDOWN
from tests.faults.line import READING
from tests.faults.stage import Stage, tags
from tests.sandbox.conftest import LIMIT_SECONDS

pytestmark = pytest.mark.slow
SEED = 20261129
KEPT = "role AWSServiceRoleForEC2Spot"
Heard = Callable[[str, str], bool]
"""Operation and path of a request: whether it is one that counts."""


def operation(environ: dict[str, Any]) -> str:
    """What a request asks for: of S3 and of what speaks REST, its method."""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rpartition(".")[2]
    if environ["PATH_INFO"].startswith("/service/"):  # CBOR
        return str(environ["PATH_INFO"]).rpartition("/")[2]
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        return str(parse_qs(body.decode())["Action"][0])
    return {"GET": "Get", "HEAD": "Head"}.get(environ["REQUEST_METHOD"], str(environ["REQUEST_METHOD"]))


def changes(name: str, _path: str) -> bool:
    return not name.startswith(READING)


def brings_results(name: str, path: str) -> bool:
    return name == "Get" and "/output/" in path


class Front:
    """Before the account's front door: ends a process at the request of a number, before it is heard or once it has taken effect."""

    def __init__(self, account: Callable[..., Iterable[bytes]]) -> None:
        self.account = account
        self.lock = threading.Lock()
        self.process: subprocess.Popen[str] | None = None
        self.left, self.after = 0, False
        self.heard: Heard = changes

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        name, path = operation(environ), environ["PATH_INFO"]
        with self.lock:
            process, counts = self.process, self.process is not None and self.heard(name, path)
            self.left -= counts
            last = counts and self.left == 0
        if last and process and not self.after:
            process.kill()
            process.wait()
            return _nothing(start)
        answer = self.account(environ, start)
        if last and process:
            process.kill()
        return answer


def _nothing(start: Any) -> Iterable[bytes]:
    start("503 Service Unavailable", [])
    return [b""]


class Killed(Stage):
    """A stage whose commands are processes of their own, on an account behind a front door."""

    front: Front

    def run(self, *words: str) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONPATH": str(Path(llmlab.__file__).parents[1]), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "llmlab", *words]
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def type(self, *words: str) -> None:
        """A line that must succeed."""
        process = self.run(*words)
        out, err = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == 0, (words, out, err)

    def killed(self, *words: str, within: int, heard: Heard = changes) -> None:
        """A line that is killed at one of its first `within` requests that count, by the seed."""
        chance = Random(f"{SEED} {words}")
        with self.front.lock:
            process = self.front.process = self.run(*words)
            self.front.left, self.front.after, self.front.heard = chance.randint(1, within), chance.random() < 0.5, heard
        _, err = process.communicate(timeout=LIMIT_SECONDS)
        self.front.process = None
        assert process.returncode == -9, f"{words} ended with {process.returncode} before it was killed: {err}"


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Killed]:
    """An empty account that another process can reach, without machines: nobody here needs to boot."""
    from moto.core.base_backend import BackendDict

    service = Service(tmp_path / "account")
    registry.STANDING.append(service)
    front = service.server.app = Front(service._application)
    serving = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    serving.start()
    for name, value in {**FAKE, "AWS_ENDPOINT_URL": service.endpoint}.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    home.mkdir()
    eyes = Aws("us-east-1", lab=PROJECT)
    made = Killed(None, eyes, eyes, ManualClock(SystemClock().now().replace(microsecond=0)), home)  # type: ignore[arg-type] # has no keeper
    made.front = front
    yield made
    registry.STANDING.remove(service)
    service.server.shutdown()
    service.server.server_close()
    serving.join()
    BackendDict.reset()


def test_a_lab_whose_every_command_is_killed_once(stage: Killed) -> None:
    before = everything(stage.eyes)
    _bootstrap(stage)
    _upload(stage)
    run = _launch(stage)
    _fetch(stage, run)
    _teardown(stage, before)


def _bootstrap(stage: Killed) -> None:
    stage.killed(*BOOTSTRAP, within=40)
    stage.type(*BOOTSTRAP)
    stage.type("bootstrap", "--plan")
    filters: Any = [{"Name": "tag:Lab", "Values": [PROJECT]}]
    assert len(stage.eyes.ec2.describe_vpcs(Filters=filters)["Vpcs"]) == 1
    assert len(stage.eyes.ec2.describe_internet_gateways(Filters=filters)["InternetGateways"]) == 1


def _upload(stage: Killed) -> None:
    folder = stage.folder / "data"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jsonl").write_bytes(LINE.replace(b"2+2", f"{number}+2".encode()) * (number + 5))
    stage.killed("upload", "data", within=4)
    stage.type("upload", "data")
    laws.whole_upload(dataset_prefix("data"), "data")(stage, None, None)  # type: ignore[arg-type] # which the law does not look at


def _launch(stage: Killed) -> str:
    """The killed one may have left a run of its own, whole enough for the watchdog to end it; its like is there once."""
    put_image(stage.eyes, "latest")
    stage.killed(*LAUNCH, within=4)
    left = stage.runs()
    assert len(left) <= 1
    stage.type(*LAUNCH)
    (run,) = set(stage.runs()) - set(left)
    for one in stage.runs():
        laws.owned(stage, one, killed=one in left)
    owners = [tags(one)["Run"] for one in stage.instances()]
    assert owners.count(run) == 1
    assert set(owners) <= {run, *left}
    _finish(stage, run)
    stage.build_watchdog()
    for _ in range(3):
        stage.clock.sleep(3 * 3600)
        stage.watchdog.wake(events.parse({"sweep": True}))
    assert not stage.instances()
    gone_off = {one_time_schedules.schedule_name(one, 1) for one in left}
    assert stage.schedules() <= gone_off, "but for what has gone off by now, which nobody plays here"
    return run


def _finish(stage: Killed, run: str) -> None:
    """What its machine leaves."""
    keys, bucket = RunKeys(run), stage.eyes.names.outputs_bucket
    files = tuple(DataFile(name, len(body), hashlib.sha256(body).hexdigest()) for name, body in ADAPTER.items())
    marker = Marker(run, EndReason.COMPLETED, contract.build_timestamp(stage.clock.now()), 1, files=files)
    bodies = {keys.output + name: body for name, body in ADAPTER.items()} | {keys.success: contract.dump(marker).encode()}
    for key, body in bodies.items():
        stage.eyes.s3.put_object(Bucket=bucket, Key=key, Body=body)
    mine = [one["InstanceId"] for one in stage.instances() if tags(one)["Run"] == run]
    stage.eyes.ec2.terminate_instances(InstanceIds=mine)


def _fetch(stage: Killed, run: str) -> None:
    stage.killed("fetch", run, within=2, heard=brings_results)
    stage.type("fetch", run)
    target = stage.folder / "outputs" / run
    assert {name: (target / name).read_bytes() for name in ADAPTER} == ADAPTER
    assert not list(target.rglob("*.part"))


def _teardown(stage: Killed, before: set[str]) -> None:
    stage.killed(*TEARDOWN, within=25)
    stage.type(*TEARDOWN)
    assert everything(stage.eyes) - before <= {KEPT}
