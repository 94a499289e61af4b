"""`doctor --gpu`: price and question first, then the very launch that `launch` makes, of a model of its own."""

from llmlab import contract
from llmlab.aws import documents
from llmlab.aws.session import Aws
from llmlab.contract import GPU_CHECK, RunKeys, Spec
from llmlab.lifecycle import instances

from .conftest import CommandLine


def alive(aws: Aws) -> list[str]:
    return [one.id for one in instances.find(aws.ec2, aws.names) if one.alive]


def test_a_gpu_is_checked_by_a_run_of_minutes_after_its_price_and_a_question(ready: CommandLine, lab_aws: Aws) -> None:
    refused = ready("doctor", "--gpu", "g6.xlarge", answer="n")
    assert refused.code == 4, refused.err
    assert "start g6.xlarge, on-demand, for at most 0.5 hours, $0." in refused.err
    assert not alive(lab_aws)
    result = ready("doctor", "--gpu", "g6.xlarge", "--yes", "--json")
    assert result.code == 0, result.err
    assert "uploaded" not in result.err, "what is there already is not sent again"
    run = result.json["run"]
    assert f"next: llmlab logs {run} -f" in result.err
    spec = documents.read(lab_aws, Spec, lab_aws.names.outputs_bucket, RunKeys(run).spec)
    assert spec
    assert (spec.data.name, spec.recipe["model"]) == (GPU_CHECK, f"lab:{GPU_CHECK}")
    assert (spec.max_hours, spec.spot, spec.resume, spec.command) == (0.5, False, False, "llmlab doctor --gpu g6.xlarge --yes --json")
    assert {pool.instance_type for pool in spec.pools} == {"g6.xlarge"}
    assert alive(lab_aws) == [result.json["instance"]]
    assert f"{contract.DATASETS}{GPU_CHECK}/train.jsonl" in documents.keys_under(lab_aws, lab_aws.names.data_bucket, contract.DATASETS)
    planned = ready("launch", "--dry-run", "--json")
    assert (planned.code, planned.json["data"]["name"]) == (0, "sums"), "the user's only dataset stays the only one"


def test_what_cannot_be_checked_is_told_with_a_check_that_can(ready: CommandLine, lab_aws: Aws) -> None:
    unknown = ready("doctor", "--gpu", "g6.xlage", "--yes")
    assert (unknown.code, unknown.error.partition(";")[0]) == (2, "there is no instance type g6.xlage in us-east-1")
    assert unknown.hint == "llmlab doctor --gpu g4dn.xlarge --yes"
    both = ready("doctor", "--gpu", "g6.xlarge", "--request-quota")
    assert (both.code, both.hint) == (2, "llmlab doctor --gpu g6.xlarge")
    assert not alive(lab_aws)
