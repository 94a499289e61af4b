"""What llmlab says to who has no account yet: what a run would cost, and what is missing."""

from pathlib import Path

import pytest

from llmlab.aws import instance_catalogue, prices
from llmlab.errors import ExitCode, LabError
from llmlab.ops import extras

from .conftest import EXAMPLES, CommandLine, assert_runs


@pytest.fixture
def stranger(llmlab: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Who has no credentials, and no region either."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    return llmlab


def test_the_tables_of_types_and_of_prices_are_of_the_same_types() -> None:
    assert set(instance_catalogue.TYPES) == set(prices.APPROXIMATE)


def test_the_table_of_types_is_as_ec2_describes_them(lab: CommandLine) -> None:
    from llmlab.aws import instance_types

    assert lab.aws
    found = {one.name: one for one in instance_types.usable(lab.aws)}
    seen = 0
    for name, one in instance_catalogue.described().items():
        if name in found:
            asked, seen = found[name], seen + 1
            assert (one.gpu, one.gpus, one.vcpus, one.memory_gib) == (asked.gpu, asked.gpus, asked.vcpus, asked.memory_gib), name
            assert one.gpu_memory_gib == pytest.approx(asked.gpu_memory_gib, abs=0.1), name
    assert seen > 30


@pytest.mark.parametrize("region", [None, "eu-west-1"])
def test_an_estimate_is_by_dated_list_prices_and_says_so(
    stranger: CommandLine, monkeypatch: pytest.MonkeyPatch, project: Path, region: str | None
) -> None:
    if region:
        monkeypatch.setenv("AWS_REGION", region)
    (project / "data").mkdir()
    (project / "data" / "train.jsonl").write_bytes(EXAMPLES)
    facts = stranger("estimate", "--data", "data", "--json")
    assert facts.code == 0, facts.err
    best = facts.json["options"][0]
    assert (best["verdict"], best["market"], best["approximate"]) == ("chosen", "on-demand", True)
    assert best["places"][0]["price"] == prices.APPROXIMATE[best["instance_type"]]
    assert best["cost"] > 0
    screen = stranger("estimate", "--data", "data")
    why = "no AWS credentials were found" if region else "no AWS region is set"
    assert f"{why}, so these are list prices of us-east-1 as noted in {instance_catalogue.NOTED}, and quotas were not checked" in screen.out
    assert len(screen.out.splitlines()) <= 40
    assert screen.err == "next: llmlab doctor\n"
    spot = stranger("estimate", "--spot", "--instance-type", "g5.xlarge", "--json").json
    assert {one["market"] for one in spot["options"]} == {"spot"}
    assert "spot is counted at the on-demand price, the most that it can cost" in spot["notes"]


def test_what_only_an_account_knows_is_said(stranger: CommandLine) -> None:
    data = stranger("estimate", "--data", "faq")
    assert (data.code, data.error) == (ExitCode.USAGE, "dataset faq is in the account, and no AWS region is set")
    unknown = stranger("estimate", "--instance-type", "p3.2xlarge")
    assert unknown.error == "p3.2xlarge is not in the list of prices, and no AWS region is set"
    assert assert_runs(unknown.hint) == "llmlab"
    assert "p3.2xlarge" not in unknown.hint


def test_the_doctor_goes_on_past_what_is_missing_first(stranger: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def checks() -> dict[str, str]:
        result = stranger("doctor", "--json")
        assert result.code == ExitCode.FAILED
        return {one["name"]: one["health"] for one in result.json["checks"]}

    assert checks() == {"region": "failed", "e-mail": "warning", "connect": checks()["connect"], "account": "unknown"}
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert checks()["credentials"] == "failed"
    assert "mend: aws configure" in stranger("doctor").out
    assert "not looked at before that is mended: permissions, plan, resources" in stranger("doctor").out.replace("\n", " ")


def test_a_missing_extra_is_named_before_anything_starts() -> None:
    with pytest.raises(LabError) as lacking:
        extras.require("sandbox", "trainer", installed=lambda name: None if name == "moto" else name)
    assert lacking.value.message == "this needs moto, which is not installed here"
    assert "'moto[server]" in lacking.value.hint
    with pytest.raises(LabError, match="this needs torch, transformers and peft, which are not installed here"):
        extras.require("trainer", installed=lambda _name: None)
    extras.require("sandbox", "trainer", installed=lambda name: name)
