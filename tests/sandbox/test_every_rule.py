"""Everything the user does, while AWS refuses whatever waiting or a right request passes, and what is new stays unseen for ten seconds."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from llmlab.aws.session import Aws
from llmlab.clock import SystemClock, wait_until
from llmlab.contract import PROJECT
from llmlab.sandbox.model import make
from llmlab.sandbox.refusals.rule import On, Until
from llmlab.sandbox.refusals.table import ROWS
from llmlab.sandbox.server import Sandbox
from tests.account import everything

DELAY_SECONDS = 10
FOREVER = {
    "service-not-signed-up-for",  # ends when AWS has looked at the account
    "guardduty-endpoint",  # is a stranger's, whom a teardown names
    "unsubscribed-by-a-click",  # is somebody's doing, which a bootstrap undoes
    "spot-vcpus-freed-late",  # lasts five minutes
}
PASSING = [rule.name for rule in ROWS if rule.on is On.NAMED and rule.until in {Until.WAITING, Until.REQUEST} and rule.name not in FOREVER]
KEPT = "role AWSServiceRoleForEC2Spot"
BEFORE = (
    "sandbox data data --rows 60", "init", "bootstrap --yes --email me@example.org --budget 50", "bootstrap --plan",
    "secret set hf-token", "validate data", "upload data --name d", "upload tiny --model tiny", "secret remove hf-token",
    "estimate --recipe sandbox --data d --instance-type g4dn.xlarge,g5.xlarge,g6.xlarge",
)  # fmt: skip
AFTER = ("status", "logs {run}", "status {run}", "fetch {run}", "report {run}", "cost", f"teardown --everything --confirm {PROJECT}")
ENDLESS = "--set max_steps=1000000 --set save_steps=2"

pytestmark = [pytest.mark.slow, pytest.mark.hours, pytest.mark.timeout(3000)]  # two labs, two runs and their ends, in real time


class User:
    """In a folder and a region of their own."""

    def __init__(self, sandbox: Sandbox, folder: Path, region: str, market: str) -> None:
        self.folder, self.market = folder, market
        folder.mkdir()
        make(folder / "tiny", steps=0)
        self.environment = {
            **sandbox.surroundings(os.environ), "AWS_REGION": region, "AWS_DEFAULT_REGION": region, "LLMLAB_REGION": region,
        }  # fmt: skip

    def run(self, line: str, *codes: int, stdin: str = "hf_abc") -> str:
        command = [sys.executable, "-m", "llmlab", *shlex.split(line)]
        result = subprocess.run(
            command, cwd=self.folder, env=self.environment, input=stdin, capture_output=True, text=True, check=False, timeout=900
        )
        assert result.returncode in (codes or (0,)), f"{self.market}: {line} ended with {result.returncode}: {result.stderr[-2000:]}"
        return result.stdout

    def ask(self, line: str) -> Any:
        return json.loads(self.run(f"{line} --json"))

    def connect(self, run: str) -> None:
        """As far as the plugin, which is handed a session once the instance is seen to run."""
        plugin = self.folder / "bin" / "session-manager-plugin"
        plugin.parent.mkdir()
        plugin.write_text('#!/bin/sh\necho "$3 $5" >> sessions\n')
        plugin.chmod(0o755)
        self.environment["PATH"] = f"{plugin.parent}:{self.environment['PATH']}"
        opened = self.folder / "sessions"
        assert wait_until(lambda: self.run(f"connect {run}", 0, 1) == "" and opened.exists(), SystemClock(), limit_seconds=300), run
        assert json.loads(opened.read_text().removeprefix("StartSession "))["DocumentName"] == "AWS-StartInteractiveCommand"

    def live(self) -> None:
        """The whole table, on one market."""
        for line in BEFORE:
            self.run(line)
        self.run("doctor", 0, 1)
        self.run(f"launch --yes --recipe sandbox --data d {self.market} --max-hours 1 {ENDLESS}")
        (run,) = (one["run"] for one in self.ask("status")["runs"])
        self.connect(run)
        self.run(f"stop {run}", 0)
        self.run(f"resume --yes {run} --{'spot' if 'spot' in self.market else 'on-demand'}")
        self.run(f"stop {run} --now")
        self.run(f"launch --yes --recipe sandbox --data d {self.market} --max-hours 1 --set max_steps=6 --wait")
        done = max(one["run"] for one in self.ask("status --all")["runs"])
        for line in AFTER:
            self.run(line.format(run=done))


@pytest.fixture
def strict() -> Iterator[Sandbox]:
    sandbox = Sandbox.start(attached=True, delay_seconds=DELAY_SECONDS, rules=PASSING)
    yield sandbox
    sandbox.stop()


def test_the_whole_table_in_two_regions_while_everything_is_refused_that_may_be(
    strict: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(PASSING) > 20
    for name, value in strict.environment().items():
        monkeypatch.setenv(name, value)
    accounts = [Aws(region, lab=PROJECT) for region in ("us-east-1", "eu-west-1")]
    before = [everything(aws) for aws in accounts]
    users = [
        User(strict, tmp_path / "spot", "us-east-1", "--spot"),
        User(strict, tmp_path / "on-demand", "eu-west-1", "--on-demand"),
    ]
    with ThreadPoolExecutor() as pool:
        for each in [pool.submit(user.live) for user in users]:
            each.result()
    strict.turn_off()
    strict.delay(0)
    for aws, there in zip(accounts, before, strict=True):
        assert everything(aws) - there <= {KEPT}
