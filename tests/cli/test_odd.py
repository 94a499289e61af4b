"""Whatever a tag, a key or a document of one run holds: commands show the other runs, stop them, and take the lab away."""

import json
from typing import Any

import pytest

from llmlab import contract
from llmlab.aws import documents
from llmlab.aws.session import Aws
from llmlab.contract import EndReason, Heartbeat, LogStream, Marker, Progress, RunKeys
from llmlab.errors import LabError
from llmlab.lifecycle import instances

from .conftest import CommandLine

NUMBERS = ["\u00b2", "\u0663", "99999999999999999999", "-5", "0x10", ""]
POISON = [b"[[[[", b" " * (contract.DOCUMENT_BYTES + 1)]


def launch(ready: CommandLine) -> tuple[str, str]:
    facts = ready("launch", "--yes", "--spot", "--json").json
    ready.clock.sleep(5)
    return facts["run"], facts["instance"]


def put(aws: Aws, key: str, body: bytes = b"") -> None:
    aws.s3.put_object(Bucket=aws.names.outputs_bucket, Key=key, Body=body)


def states(ready: CommandLine) -> dict[str, str]:
    result = ready("status", "--json")
    assert result.code == 0, result.err
    return {one["run"]: one["state"] for one in result.json["runs"]}


@pytest.mark.slow
def test_an_odd_tag(ready: CommandLine, lab_aws: Aws) -> None:
    (_, odd), (run, _) = launch(ready), launch(ready)
    for value in NUMBERS:
        tags: Any = [{"Key": key, "Value": value} for key in ("Deadline", "Attempt", "Run")]
        lab_aws.ec2.create_tags(Resources=[odd], Tags=tags)
        assert states(ready)[run] == "starting"
    assert ready("stop", run, "--now").code == 0
    assert ready("teardown", "--yes").code == 0
    assert not [one for one in instances.find(lab_aws.ec2, lab_aws.names) if one.alive]


@pytest.mark.slow  # a lab for each document
@pytest.mark.parametrize("body", POISON, ids=[str(body[:4]) for body in POISON])
def test_an_odd_document(ready: CommandLine, lab_aws: Aws, body: bytes) -> None:
    (odd, odd_instance), (run, instance) = launch(ready), launch(ready)
    keys = RunKeys(odd)
    for key in (keys.success, keys.attempt(1), keys.attempt_end(1), keys.status, keys.spec):
        lab_aws.s3.delete_object(Bucket=lab_aws.names.outputs_bucket, Key=keys.success)
        put(lab_aws, key, body)
        assert states(ready) == {odd: "unreadable", run: "starting"}
    alone = ready("status", odd)
    assert (alone.code, alone.hint) == (1, f"aws s3 ls s3://{lab_aws.names.outputs_bucket}/{keys.spec} --human-readable")
    assert "is not a spec" in alone.error or "too large for a document" in alone.error
    costs = ready("cost", "--no-cost-explorer", "--json")
    assert costs.code == 0, costs.err
    assert any(odd in note for note in costs.json["notes"])
    assert ready("stop", run, "--now", "--json").json["terminated"] == [instance]
    assert ready("stop", odd, "--json").json["terminated"] == [odd_instance]
    assert ready("teardown", "--yes").code == 0


def test_an_odd_marker_of_a_run_that_is_over(ready: CommandLine, lab_aws: Aws) -> None:
    odd, fine = "20261120-120000-aaaa", "20261120-130000-aaaa"
    for run in (odd, fine):
        put(lab_aws, RunKeys(run).ended(EndReason.COMPLETED))
    put(lab_aws, RunKeys(odd).success, b"[[[[")
    marker = Marker(fine, EndReason.COMPLETED, "2026-11-24T00:00:00Z", 1)
    documents.write(lab_aws, lab_aws.names.outputs_bucket, RunKeys(fine).success, marker)
    assert states(ready) == {odd: "unreadable", fine: "succeeded"}
    assert f"{odd} unreadable" in ready("status").out


@pytest.mark.slow
def test_an_odd_key(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    for key in (
        "runs/20261120-120000-aaaa/", "runs/99999999-999999-aaaa/x", "runs/x", "ended/", "ended/a/b/c", "ended/20261120-120000-aaaa/odd",
        "runs/\u0662\u0660261120-120000-aaaa/spec.json", "runs/20261120-120000-aaaa/attempts/999999999999999999999.json",
    ):  # fmt: skip
        put(lab_aws, key)
    assert states(ready)[run] == "starting"
    for command in (("cost", "--no-cost-explorer"), ("stop", run, "--now"), ("teardown", "--yes")):
        assert ready(*command).code == 0, command


FORGED = "x\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b\u202e"


def test_nothing_that_a_container_says_commands_the_terminal(ready: CommandLine, lab_aws: Aws) -> None:
    """Its phase, its last words, its log, the names of its files: in `status`, `logs`, `report`, `fetch`, `stop` and `resume`."""
    run, instance = launch(ready)
    bucket, keys, now = lab_aws.names.outputs_bucket, RunKeys(run), contract.build_timestamp(ready.clock.now())
    documents.write(lab_aws, bucket, keys.status, Heartbeat(run, 1, now, instance, FORGED, Progress(FORGED, 5, 10, loss=1.0)))
    results = [ready("status"), ready("status", run), ready("status", "--json")]
    marker = Marker(run, EndReason.TRAINING_ERROR, now, 1, detail=FORGED, hint=FORGED)
    documents.write(lab_aws, bucket, keys.failure, marker)
    put(lab_aws, keys.log(LogStream.TRAINING, 1), f"{FORGED}\n".encode())
    put(lab_aws, keys.output + f"{FORGED}.txt")
    put(lab_aws, keys.output + f"a//{FORGED}")
    results += [ready(*line) for line in (("status",), ("status", run), ("logs", run), ("report", run), ("fetch", run), ("stop", run))]
    assert all(result.code == 0 for result in results), [result.err for result in results]
    text = "".join(result.out + result.err for result in results)
    assert not set(text) & {*"\x1b\x07\x9b\u202e"}
    assert text.count("␛]52;c;ZXZpbA==␇") >= 4


def test_what_no_reader_would_read_is_not_written(lab_aws: Aws) -> None:
    lab_aws.s3.create_bucket(Bucket="outputs")
    marker = Marker("20261120-120000-aaaa", EndReason.COMPLETED, "2026-11-24T00:00:00Z", 1, detail="x" * contract.LARGE_DOCUMENT_BYTES)
    with pytest.raises(LabError, match="too large for a marker"):
        documents.write(lab_aws, "outputs", "SUCCESS", marker)
    assert not documents.exists(lab_aws, "outputs", "SUCCESS")


def test_of_a_long_text_the_end_is_read(lab_aws: Aws) -> None:
    lab_aws.s3.create_bucket(Bucket="outputs")
    lines = [json.dumps({"step": number}) for number in range(100)]
    lab_aws.s3.put_object(Bucket="outputs", Key="log", Body="\n".join(lines).encode())
    assert documents.read_text(lab_aws, "outputs", "log") == "\n".join(lines)
    said, *rest = documents.read_text(lab_aws, "outputs", "log", most=100).splitlines()
    assert rest == lines[-len(rest) :]
    assert 0 < len(rest) < 100
    assert said == f"[{len(chr(10).join(lines)) - len(chr(10).join(rest))} bytes before this are left out: s3://outputs/log]"
