"""`rm`: a run that is over goes whole, with every version; one that is not stays whole."""

from typing import Any

import pytest

from llmlab.aws import documents
from llmlab.aws.session import Aws
from llmlab.contract import EndReason, RunKeys
from llmlab.errors import ExitCode
from llmlab.lifecycle import deleting, instances
from tests.sampling import sampled

from .conftest import CommandLine
from .test_launch import assert_only_reads
from .test_status import complete_checkpoint, finish, launch


def versions(aws: Aws) -> set[str]:
    """The keys of which any version or delete marker is there."""
    answer: Any = aws.s3.list_object_versions(Bucket=aws.names.outputs_bucket)
    return {one["Key"] for kind in ("Versions", "DeleteMarkers") for one in answer.get(kind, [])}


def over(ready: CommandLine, aws: Aws, *more: str) -> str:
    """A run that has completed, some of its objects written twice or deleted once."""
    run, _ = launch(ready, *more)
    for step in (10, 20):
        complete_checkpoint(aws, run, step)
    documents.delete(aws, aws.names.outputs_bucket, RunKeys(run).checkpoint(10) + "COMPLETE")
    for text in (b"first", b"second"):
        aws.s3.put_object(Bucket=aws.names.outputs_bucket, Key=RunKeys(run).output + "adapter/weights", Body=text)
    finish(ready, aws, run, EndReason.COMPLETED)
    return run


def test_a_run_goes_with_every_version_and_another_stays(ready: CommandLine, lab_aws: Aws) -> None:
    run = over(ready, lab_aws, "--name", "faq-v2")
    ready.clock.sleep(5)
    other = over(ready, lab_aws)
    kept = {key for key in versions(lab_aws) if other in key}
    assert kept
    result = ready("rm", "faq-v2", answer="y\n")
    assert result.code == 0, result.err
    assert result.err.startswith(f"delete {run} (faq-v2): ")
    assert result.out.startswith(f"deleted {run} (faq-v2): ")
    assert not {key for key in versions(lab_aws) if run in key or "faq-v2" in key}
    assert {key for key in versions(lab_aws) if other in key} == kept
    assert ready("status", "faq-v2").error.startswith("there is no run faq-v2")
    assert [one["run"] for one in ready("status", "--json").json["runs"]] == [other]


def test_without_a_yes_nothing_goes(ready: CommandLine, lab_aws: Aws, recorder: list[str]) -> None:
    run = over(ready, lab_aws)
    before = versions(lab_aws)
    recorder.clear()
    silent = ready("rm", run)
    assert (silent.code, silent.hint) == (ExitCode.REFUSED, f"llmlab rm {run} --yes")
    assert ready("rm", run, answer="\n").code == ExitCode.REFUSED
    assert_only_reads(recorder)
    assert versions(lab_aws) == before
    facts = ready("rm", run, "--yes", "--json").json
    assert (facts["run"], facts["name"]) == (run, None)
    assert facts["versions"] > facts["files"] > 0 < facts["size"]


def test_a_living_run_stays_whole(ready: CommandLine, lab_aws: Aws, recorder: list[str]) -> None:
    run, instance = launch(ready)
    recorder.clear()
    result = ready("rm", run, "--yes")
    assert (result.code, result.hint) == (ExitCode.REFUSED, f"llmlab stop {run}")
    assert result.error.startswith(f"{run} has an instance: {instance} is ")
    instances.terminate(lab_aws.ec2, [instance])
    interrupted = ready("rm", run, "--yes")
    assert interrupted.error.startswith(f"{run} is not over: it is ")
    assert_only_reads([call for call in recorder if call != "ec2:TerminateInstances"])


@pytest.mark.parametrize("call", sampled([1, 2, 3, 4], 3))  # the moments of one removal, each on a lab of its own
def test_a_removal_that_breaks_off_leaves_the_run_over_and_goes_on(
    ready: CommandLine, lab_aws: Aws, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    run = over(ready, lab_aws)
    delete, calls = deleting.delete_versions, []

    def breaks(*arguments: Any) -> list[str]:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return delete(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(deleting, "delete_versions", breaks)
        assert ready("rm", run, "--yes").code == ExitCode.INTERRUPTED
    assert len(calls) == call
    (listed,) = ready("status", "--json").json["runs"]
    assert (listed["run"], listed["state"]) == (run, "succeeded")
    assert ready("resume", run, "--yes").code != 0
    assert ready("rm", run, "--yes").code == 0
    assert not {key for key in versions(lab_aws) if run in key}


def test_what_s3_keeps_is_told(ready: CommandLine, lab_aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    run = over(ready, lab_aws)
    monkeypatch.setattr(deleting, "delete_versions", lambda *_: [f"runs/{run}/spec.json: Access Denied"])
    result = ready("rm", run, "--yes")
    assert (result.code, result.hint) == (1, f"llmlab rm {run} --yes")
    assert result.error == f"runs/{run}/spec.json: Access Denied: it could not be deleted"
