"""`estimate` through `main`, and what a launch does where AWS does not tell a price, a quota or a score."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from llmlab import contract
from llmlab.aws import documents, prices
from llmlab.aws.session import Aws, Denied
from llmlab.contract import EndReason, RunKeys, Spec
from llmlab.lifecycle import billing
from llmlab.ops.throughput_history import STEPS
from llmlab.sandbox import market

from .conftest import CommandLine, assert_runs, put_dataset
from .test_status import beat, finish, launch


def of(facts: Any, name: str, market: str = "spot") -> Any:
    return next(one for one in facts["options"] if one["instance_type"] == name and one["market"] in {market, ""})


@contextmanager
def denied(aws: Aws, *calls: str) -> Iterator[None]:
    """Let AWS deny these calls, each as `service:Operation`, whatever client makes them."""
    events = [f"before-call.{call.replace(':', '.')}" for call in calls]

    def refuse(model: Any, **_: object) -> None:
        name = f"{model.service_model.service_name}:{model.name}"
        raise Denied(f"AWS denied {name}", "llmlab doctor", code="AccessDeniedException", operation=name)

    clients = {aws.client("ec2"), aws.client("service-quotas"), aws.client("pricing", region="us-east-1", attempts=2)}
    for client in clients:
        for event in events:
            client.meta.events.register(event, refuse)
    try:
        yield
    finally:
        for client in clients:
            for event in events:
                client.meta.events.unregister(event, refuse)


def test_memory_time_and_price_of_each_type_in_each_market(ready: CommandLine) -> None:
    result = ready("estimate", "--instance-type", "g6.xlarge,g4dn.xlarge", "--json")
    facts = result.json
    assert facts["parameters"] == 1_500_000_000
    assert facts["options"][0]["verdict"] == "chosen"
    assert [one["verdict"] for one in facts["options"]].count("chosen") == 1
    spot, listed = of(facts, "g6.xlarge"), of(facts, "g6.xlarge", "on-demand")
    assert 0 < spot["places"][0]["price"] < listed["places"][0]["price"] == pytest.approx(0.8048)
    for place in spot["places"]:
        assert place["low"] <= place["price"] <= place["high"]
    beside = sum(charge["hourly"] for charge in facts["charges"])
    assert listed["cost"] == pytest.approx(listed["hours"] * (0.8048 + beside))
    assert listed["cost"] == pytest.approx(sum(listed["costs"].values()))
    assert spot["needed_gib"] < spot["gpu_memory_gib"]
    assert "fp16" in of(facts, "g4dn.xlarge")["reason"]
    assert result.err.strip() == "next: llmlab launch --instance-type g6.xlarge,g4dn.xlarge --spot"


def test_why_a_type_is_rejected(ready: CommandLine) -> None:
    facts = ready("estimate", "--set", "model=x/llama-70b", "--json").json
    rejected = [one for one in facts["options"] if one["verdict"] == "rejected"]
    assert {one["obstacle"] for one in rejected} >= {"memory", "quota", "zone", "price"}
    assert all("GiB" in one["reason"] and one["hours"] is None for one in rejected if one["obstacle"] == "memory")
    assert of(facts, "p6-b200.48xlarge")["reason"] == "quota 0 of 192 vCPUs", "a B200 has 179 GiB"


def test_the_screen_shows_the_best_and_the_nearest_rejected_first(ready: CommandLine) -> None:
    short, whole = ready("estimate"), ready("estimate", "--all")
    head, *rows = short.out.split("\n\n")[1].splitlines()
    assert head.split() == ["type", "GPU", "GiB", "market", "zone", "$/h", "week's", "$/h", "score", "time", "total", "verdict"]
    assert "chosen" in rows[0]
    assert "quota 64 of 96 vCPUs" in short.out
    assert "no price known" in short.out
    more = short.out.split("\n\n")[2]
    assert more.partition(": ")[2] == "llmlab estimate --all"
    assert len(whole.out.split("\n\n")[1].splitlines()) == 1 + len(rows) + int(more.split()[0])
    assert "disk $0.04 + address $0.0050 an hour (Pricing API)" in short.out
    assert "estimated at 30% of each GPU's peak" in short.out
    assert short.err.startswith("next: llmlab launch --spot\n")


def test_what_the_run_leaves_is_priced_too(ready: CommandLine) -> None:
    facts = ready("estimate", "--json").json["keeping"]
    assert facts["stored_gb"] > facts["checkpoints"] * facts["checkpoint_gb"] > 0
    assert facts["monthly"] == pytest.approx(facts["stored_gb"] * 0.023)
    assert "a month until it is deleted; logs at most $0.08 an attempt" in " ".join(ready("estimate").out.split())
    assert "a month until it is deleted" in " ".join(ready("launch", "--spot", "--dry-run").out.split())


def test_one_market_alone(ready: CommandLine) -> None:
    result = ready("estimate", "--on-demand", "--json")
    assert {one["market"] for one in result.json["options"]} == {"on-demand", ""}
    assert result.err == "next: llmlab launch\n"


def test_no_price_is_made_up(ready: CommandLine) -> None:
    """The sandbox offers g7 and lists no price of it."""
    unpriced = [one for one in ready("estimate", "--json").json["options"] if one["instance_type"].startswith("g7.")]
    assert len(unpriced) == 6
    assert {(one["verdict"], one["reason"], one["cost"], len(one["places"])) for one in unpriced} == {
        ("rejected", "no price known", None, 0)
    }


def test_a_model_that_is_not_uploaded(ready: CommandLine) -> None:
    result = ready("estimate", "--recipe", "sandbox")
    assert result.code == 0
    assert result.out.splitlines()[0] == "the model lab:tiny has not been uploaded, so memory and time are not estimated"
    assert result.err.splitlines() == ["next: llmlab upload tiny/ --model tiny"]


def test_a_model_is_counted_by_its_config(ready: CommandLine, lab_aws: Aws) -> None:
    config = {
        "hidden_size": 8192, "num_hidden_layers": 80, "vocab_size": 128_256, "num_attention_heads": 64, "num_key_value_heads": 8,
        "intermediate_size": 28_672, "tie_word_embeddings": False,
    }  # fmt: skip
    bucket, prefix = lab_aws.names.data_bucket, contract.model_prefix("llama")
    lab_aws.s3.put_object(Bucket=bucket, Key=prefix + "config.json", Body=json.dumps(config).encode())
    documents.write(lab_aws, bucket, prefix + contract.MANIFEST, contract.Manifest("llama", (), ""))
    facts = ready("estimate", "--recipe", "qlora-70b", "--set", "model=lab:llama", "--json").json
    assert facts["source"] == "its config.json"
    assert facts["parameters"] == pytest.approx(70.55e9, rel=0.001), "as Llama 3.3 70B has"
    assert of(facts, "g6e.xlarge")["obstacle"] == "memory"


def test_what_trl_cannot_do_on_a_machine_is_said_before_one_is_paid_for(ready: CommandLine) -> None:
    for recipe in ("kto", "grpo"):
        experts = ready("launch", "--recipe", recipe, "--dry-run", "--set", "method=qlora", "--set", "model=Qwen/Qwen3-30B-A3B")
        assert experts.error.startswith("method qlora does not fit Qwen/Qwen3-30B-A3B: it is a mixture of experts")
        assert "--set method=lora" in experts.hint
        four = ready("launch", "--recipe", recipe, "--dry-run", "--instance-type", "g6.12xlarge")
        assert (four.code, "has 4 GPUs, and TRL's trainers train on one here" in four.error) == (1, True)
        assert_runs(four.hint)


def test_how_far_an_estimate_of_trls_trainers_holds_is_said(ready: CommandLine) -> None:
    within = {"kto": 2, "grpo": 3}
    for recipe, factor in within.items():
        facts = ready("estimate", "--recipe", recipe, "--json").json
        (said,) = (note for note in facts["notes"] if "assume" in note)
        assert said.startswith(f"the hours of objective {recipe} assume ")
        assert f"right within a factor of {factor}, until a run of this recipe has been measured" in said
        assert ("the memory of generation" in said) == (recipe == "grpo")
        assert of(facts, "g6e.xlarge")["needed_gib"] > 3
    assert not [note for note in ready("estimate", "--json").json["notes"] if "assume" in note]


def test_placement_scores_are_asked_for_three_types_and_more(ready: CommandLine, recorder: list[str]) -> None:
    assert of(ready("estimate", "--instance-type", "g6.xlarge,g5.xlarge", "--json").json, "g6.xlarge")["places"][0]["score"] is None
    assert "ec2:GetSpotPlacementScores" not in recorder
    facts = ready("estimate", "--instance-type", "g6.xlarge,g5.xlarge,g6.2xlarge", "--json").json
    assert 1 <= of(facts, "g6.xlarge")["places"][0]["score"] <= 10
    assert recorder.count("ec2:GetSpotPlacementScores") == 1


# ---------------------------------------------------------------- what earlier runs measured


@pytest.mark.slow  # several launches
def test_a_run_that_was_measured_replaces_the_estimate(ready: CommandLine, lab_aws: Aws) -> None:
    before = ready("estimate", "--json").json
    run, instance = launch(ready, "--instance-type", "g6.xlarge")
    beat(ready, lab_aws, run, instance)
    finish(ready, lab_aws, run, EndReason.COMPLETED)
    after = ready("estimate", "--json").json
    assert after["measurements"] == [{"run": run, "instance_type": "g6.xlarge", "tokens_per_second": 812.0}]
    assert (of(before, "g6.xlarge")["measured"], of(after, "g6.xlarge")["measured"]) == (False, True)
    assert not of(after, "g6e.xlarge")["measured"]
    assert 0 < after["correction"] < 1
    assert of(after, "g6.xlarge")["hours"] == pytest.approx(0.15 + 800 * 3 / 812 / 3600, rel=1e-3)
    assert of(after, "g6e.xlarge")["hours"] > of(before, "g6e.xlarge")["hours"], "the others are corrected by it"
    assert f"measured 812 tokens/s on g6.xlarge (run {run})" in ready("estimate").out
    for other in ("method=qlora", "max_length=512", "model=x/other-1.5b", "device=cpu"):
        assert ready("estimate", "--set", other, "--json").json["measurements"] == [], other


def test_a_run_of_a_few_steps_measured_nothing(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready, "--instance-type", "g6.xlarge")
    progress = contract.Progress("training", STEPS - 1, 100, 0.5, 1.25, 1e-4, 5000, 812.0, 60.0)
    heartbeat = contract.Heartbeat(run, 1, "2026-11-24T00:00:00Z", "i", "training", progress)
    documents.write(lab_aws, lab_aws.names.outputs_bucket, RunKeys(run).status, heartbeat)
    finish(ready, lab_aws, run, EndReason.STOPPED_BY_USER)
    assert ready("estimate", "--json").json["measurements"] == []


# ---------------------------------------------------------------- what AWS does not tell


def test_a_silent_price_list_makes_prices_approximate(ready: CommandLine, lab_aws: Aws) -> None:
    with denied(lab_aws, "pricing:GetProducts"):
        result = ready("launch", "--yes", "--instance-type", "g6.xlarge", "--json")
        shown = ready("estimate", "--on-demand").out
    assert result.code == 0, result.err
    assert "note      AWS denied pricing:GetProducts, so these prices are approximate: on-demand of g6.xlarge, disk, address" in result.err
    spec = documents.read(lab_aws, Spec, lab_aws.names.outputs_bucket, RunKeys(result.json["run"]).spec)
    assert spec
    assert {(charge.source, charge.approximate) for charge in spec.charges} == {("shipped table", True)}
    assert all(pool.approximate and pool.on_demand_price == prices.APPROXIMATE["g6.xlarge"] for pool in spec.pools)
    assert "disk ~$0.04 + address ~$0.0050 an hour (shipped table)" in shown
    assert f"~{billing.dollars(prices.APPROXIMATE['g6.xlarge'])}" in shown
    assert "~$" not in ready("estimate").out


def test_a_silent_spot_history_counts_at_the_ceiling(ready: CommandLine, lab_aws: Aws) -> None:
    with denied(lab_aws, "ec2:DescribeSpotPriceHistory"):
        result = ready("launch", "--yes", "--spot", "--instance-type", "g6.xlarge", "--json")
    assert result.code == 0, result.err
    assert "AWS denied ec2:DescribeSpotPriceHistory, so spot is counted at the on-demand price, the most that it can cost" in result.err
    assert result.json["price"] == pytest.approx(0.8048)


def test_a_silent_quota_is_told_and_stops_nothing(ready: CommandLine, lab_aws: Aws) -> None:
    market.set_quota("us-east-1", "L-DB2E81BA", 64)
    with denied(lab_aws, "service-quotas:GetServiceQuota"):
        result = ready("launch", "--yes")
    assert result.code == 0, result.err
    assert "note      AWS does not tell the quota of on-demand G and VT instances, so it was not checked" in result.err


def test_a_silent_score_is_told(ready: CommandLine, lab_aws: Aws) -> None:
    with denied(lab_aws, "ec2:GetSpotPlacementScores"):
        result = ready("launch", "--spot", "--dry-run")
    assert result.code == 0
    assert "AWS denied ec2:GetSpotPlacementScores, so there are no placement scores" in result.out


# ---------------------------------------------------------------- quotas


def test_a_quota_is_asked_for_once(ready: CommandLine, lab_aws: Aws, recorder: list[str]) -> None:
    ready.environment = {"LLMLAB_INSTANCE_TYPES": "p5.4xlarge"}
    ready.aws = lab_aws
    unasked = ready("doctor", "--request-quota")
    assert (unasked.code, unasked.hint) == (4, "llmlab doctor --request-quota --yes")
    assert "RequestServiceQuotaIncrease" not in {call.partition(":")[2] for call in recorder}
    first = ready("doctor", "--request-quota", "--yes")
    assert first.code == 0
    assert first.out.count("; asked for: PENDING, case ") == 2
    second = ready("doctor", "--request-quota", "--yes")
    assert second.out.count("; asked for already: PENDING, case ") == 2
    assert [call.partition(":")[2] for call in recorder].count("RequestServiceQuotaIncrease") == 2
    asked = lab_aws.client("service-quotas").list_requested_service_quota_change_history(ServiceCode="ec2")["RequestedQuotas"]
    assert {(one["QuotaCode"], one["DesiredValue"]) for one in asked} == {("L-417A185B", 16.0), ("L-C4BD4855", 16.0)}


def test_a_quota_that_is_large_enough_is_not_asked_for(ready: CommandLine, recorder: list[str]) -> None:
    assert ready("doctor", "--request-quota", "--yes").out == "no quota is too small for an instance\n"
    assert ready("doctor", "--request-quota", "--json").json == []
    market.set_quota("us-east-1", "L-3819A6DF", 0)
    assert ready("doctor", "--request-quota", "--yes", "--json").json[0]["desired"] == 4
    assert [call.partition(":")[2] for call in recorder].count("RequestServiceQuotaIncrease") == 1


def test_what_comes_next_is_what_is_missing(ready: CommandLine, lab_aws: Aws) -> None:
    bucket = lab_aws.names.data_bucket
    put_dataset(lab_aws, "words")
    assert ready("estimate").err == "next: llmlab launch --data sums --spot\n"
    assert ready("estimate", "--data", "words").err == "next: llmlab launch --data words --spot\n"
    assert ready("status").err.endswith("next: llmlab launch --data sums\n")
    for name in ("sums", "words"):
        documents.delete(lab_aws, bucket, *documents.keys_under(lab_aws, bucket, contract.dataset_prefix(name)))
    for line in (("estimate",), ("status",), ("status", "latest")):
        result = ready(*line)
        assert result.err.endswith(": llmlab upload data/\n"), line
