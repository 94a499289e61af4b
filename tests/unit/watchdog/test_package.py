"""The watchdog's zip: what Lambda is given."""

import json
import subprocess
import sys
from pathlib import Path

import boto3
import botocore
import pytest

from llmlab.aws import lambda_function
from llmlab.watchdog import package, run_snapshot

CONTRACT = (
    "__init__", "codec", "documents", "hints", "keys", "machine", "names", "run_names", "shrinking", "states", "times", "typed", "visible",
)  # fmt: skip
LIFECYCLE = (
    "__init__", "attempt_start", "billing", "create_fleet", "deleting", "error_codes", "finish_run", "instances", "object_store",
    "one_time_schedules", "pool_order", "refusals", "run_documents", "spot_prices", "webhooks",
)  # fmt: skip
WATCHDOG = (
    "__init__", "capacity", "checkpoint_retention", "dependencies", "events", "followup", "guard", "handler", "notifications", "overdue",
    "policy", "reconcile", "run_outcome", "run_snapshot", "start_attempt", "termination", "usage", "webhook_delivery",
)  # fmt: skip


def test_the_zip_has_the_same_bytes_each_time_and_only_what_it_needs() -> None:
    import io
    import zipfile

    assert package.build() == package.build()
    names = zipfile.ZipFile(io.BytesIO(package.build())).namelist()
    assert names == [
        "llmlab/__init__.py", "llmlab/clock.py",
        *sorted(f"llmlab/contract/{name}.py" for name in CONTRACT),
        *sorted(f"llmlab/lifecycle/{name}.py" for name in LIFECYCLE),
        *sorted(f"llmlab/watchdog/{name}.py" for name in WATCHDOG),
    ]  # fmt: skip


def test_no_instance_is_given_up_while_the_call_that_asked_for_it_may_still_live() -> None:
    assert run_snapshot.VISIBLE_SECONDS >= lambda_function.TIMEOUT_SECONDS


PROGRAM = """
import sys, json
sys.path[:0] = sys.argv[1:3]
import llmlab, os
assert ".zip" in llmlab.__file__, llmlab.__file__
from llmlab.watchdog import handler
os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
watchdog = handler.build({"LLMLAB_LAB": "lab", "LLMLAB_OUTPUTS_BUCKET": "b",
    "LLMLAB_TOPIC": "arn:aws:sns:us-east-1:123456789012:lab-alerts",
    "LLMLAB_SCHEDULER_ROLE": "r", "LLMLAB_MAX_HOURS": "6"}, handler.SystemClock())
from llmlab.watchdog.events import parse
watchdog.wake(parse({"nothing": 1}))
print(sorted(name for name in sys.modules if name.startswith("llmlab.")))
"""


def interpreters() -> list[str]:
    """This Python, and a 3.12, which Lambda runs, where there is one."""
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.12*/bin/python")) or sorted(Path("/root/.pyenv/versions").glob("3.12*/bin/python"))
    return [sys.executable, *(str(path) for path in pyenv[:1])]


@pytest.mark.parametrize("python", interpreters())
def test_the_zip_works_in_a_clean_interpreter(python: str, tmp_path: Path) -> None:
    """Costs a second: a fresh process that imports boto3 is the point."""
    archive = tmp_path / "watchdog.zip"
    archive.write_bytes(package.build())
    site = tmp_path / "site"
    site.mkdir()
    packages = Path(boto3.__file__).parents[1]
    for name in ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3"):
        (site / name).symlink_to(packages / name)
    done = subprocess.run([python, "-I", "-c", PROGRAM, str(archive), str(site)], capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    line, modules = done.stdout.splitlines()
    assert json.loads(line)["decision"] == "ignored"
    assert "llmlab.watchdog.reconcile" in modules
    assert "llmlab.errors" not in modules
    assert botocore.__version__
