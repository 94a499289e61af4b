"""`launch --name`: one living run has a name, every command takes it, and of two launches at once one starts nothing."""

from typing import Any

import pytest

from llmlab.aws import documents, run_names
from llmlab.aws.session import Aws
from llmlab.contract import EndReason, RunKeys, Spec
from llmlab.errors import ExitCode
from llmlab.lifecycle import instances, object_store
from llmlab.ops import naming

from .conftest import CommandLine
from .test_launch import alive, assert_only_reads
from .test_status import beat, finish, launch


def keys(aws: Aws) -> list[str]:
    return documents.keys_under(aws, aws.names.outputs_bucket, "")


@pytest.mark.slow
def test_a_name_stands_for_its_run_in_every_command(ready: CommandLine, lab_aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    run, instance = launch(ready, "--name", "faq-v2")
    ready.clock.sleep(5)
    other, _ = launch(ready)
    beat(ready, lab_aws, run, instance)
    assert ready("status", "faq-v2", "--json").json["run"]["run"] == run
    listed = {one["run"]: one["name"] for one in ready("status", "--json").json["runs"]}
    assert listed == {run: "faq-v2", other: None}
    assert "faq-v2" in ready("status").out
    assert ready("stop", "faq-v2", "--now", "--json").json["run"]["run"] == run
    assert {one["run"]: one["name"] for one in ready("status", "--json").json["runs"]} == listed, "a run that is over keeps its name"
    wrong = ready("logs", "faq-v3")
    assert wrong.error == "there is no run faq-v3; the nearest: faq-v2"
    assert wrong.hint == "llmlab status faq-v2"
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    for command in ("fetch", "logs", "connect", "report", "stop", "resume"):
        assert "there is no run" not in ready(command, "faq-v2", *(["--yes"] if command == "resume" else [])).error, command


def test_a_living_run_keeps_its_name_and_one_that_is_over_gives_it(ready: CommandLine, lab_aws: Aws, recorder: list[str]) -> None:
    first, _ = launch(ready, "--name", "faq-v2")
    recorder.clear()
    before = keys(lab_aws)
    taken = ready("launch", "--yes", "--spot", "--max-cost", "9", "--name", "faq-v2")
    assert taken.code == ExitCode.REFUSED
    assert taken.error == f"the name faq-v2 is that of run {first}, which is starting"
    assert taken.hint == "llmlab launch --yes --spot --max-cost 9 --name faq-v2-2"
    assert_only_reads(recorder)
    assert (keys(lab_aws), len(alive(lab_aws))) == (before, 1)
    finish(ready, lab_aws, first, EndReason.COMPLETED)
    ready.clock.sleep(5)
    second, _ = launch(ready, "--name", "faq-v2")
    assert ready("status", "faq-v2", "--json").json["run"]["run"] == second
    finish(ready, lab_aws, second, EndReason.COMPLETED)
    assert ready("status", "faq-v2", "--json").json["run"]["run"] == second, "the newest, where none lives"


def test_of_two_launches_of_one_name_at_once_one_starts_nothing(ready: CommandLine, lab_aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one comes between this one's look and its claim."""
    write, others = object_store.put_if_absent, []

    def late(client: Any, bucket: str, key: str, body: bytes, *more: Any) -> bool:
        if key.startswith("names/") and not others:
            others.append("")
            others[0], _ = launch(ready, "--name", "faq-v2")
        return write(client, bucket, key, body, *more)

    monkeypatch.setattr(object_store, "put_if_absent", late)
    lost = ready("launch", "--yes", "--spot", "--name", "faq-v2")
    assert (lost.code, lost.error) == (ExitCode.REFUSED, f"the name faq-v2 is that of run {others[0]}, which is starting")
    assert len(alive(lab_aws)) == 1
    assert documents.runs(lab_aws, lab_aws.names.outputs_bucket) == others
    assert run_names.of_runs(lab_aws) == {others[0]: "faq-v2"}
    assert run_names.claims(lab_aws, "faq-v2") == [1]


def test_a_launch_that_finds_no_machine_gives_the_name_back(ready: CommandLine, lab_aws: Aws) -> None:
    from llmlab.sandbox import market

    market.refuse(lab_aws.region)
    assert ready("launch", "--yes", "--spot", "--name", "faq-v2").code == ExitCode.FAILED
    assert keys(lab_aws) == []


NO_NAMES = {
    "latest": "run-latest", "": "faq-v2", "faq": "run-faq", "20261129-161107-wmru": "run-20261129-161107-wmru",
    "a/b": "faq-v2", "a@b": "faq-v2", "x" * 41: "faq-v2", "\x1b[31mred": "faq-v2",
}  # fmt: skip
"""What is refused, and what the hint calls the run instead."""


def test_what_is_no_name_is_refused_before_aws_is_asked(lab: CommandLine, recorder: list[str]) -> None:
    for name, better in NO_NAMES.items():
        result = lab("launch", "--spot", "--dry-run", "--name", name)
        assert (result.code, result.hint) == (ExitCode.USAGE, f"llmlab launch --spot --dry-run --name {better}")
        assert "\x1b" not in result.err
    assert recorder == []


@pytest.mark.slow
def test_a_resumed_run_takes_its_name_again_unless_a_living_one_has_it(ready: CommandLine, lab_aws: Aws) -> None:
    first, _ = launch(ready, "--name", "faq-v2")
    ready("stop", first, "--now")
    ready.clock.sleep(5)
    second, _ = launch(ready, "--name", "faq-v2")
    refused = ready("resume", first, "--yes")
    assert (refused.code, refused.hint) == (ExitCode.REFUSED, f"llmlab stop {second}")
    ready("stop", second, "--now")
    assert ready("resume", first, "--yes").code == 0
    assert ready("status", "faq-v2", "--json").json["run"]["run"] == first


def test_a_run_of_before_names_is_read(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    key = RunKeys(run).spec
    spec = lab_aws.s3.get_object(Bucket=lab_aws.names.outputs_bucket, Key=key)["Body"].read()
    old = spec.replace(b'"name": "",', b"").replace(b'"name":"",', b"")
    lab_aws.s3.put_object(Bucket=lab_aws.names.outputs_bucket, Key=key, Body=old)
    loaded = documents.read(lab_aws, Spec, lab_aws.names.outputs_bucket, key)
    assert loaded
    assert loaded.name == ""
    assert ready("status", run, "--json").json["run"]["name"] is None


def test_a_claim_that_cannot_be_read_keeps_nobody_from_the_name(ready: CommandLine, lab_aws: Aws) -> None:
    lab_aws.s3.put_object(Bucket=lab_aws.names.outputs_bucket, Key="names/faq-v2/1.json", Body=b"{")
    run, _ = launch(ready, "--name", "faq-v2")
    assert ready("status", "faq-v2", "--json").json["run"]["run"] == run
    assert naming.claim(lab_aws, "faq-v2", run, ready.clock) is False
    assert [one.run for one in instances.find(lab_aws.ec2, lab_aws.names)] == [run]
