"""`launch` through `main`: what it makes, what it refuses, and that nothing is left when it breaks off."""

import hashlib
import http.server
import json
import shlex
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from llmlab.aws import documents, ecr_images
from llmlab.aws.session import Aws
from llmlab.contract import IMAGE_LABEL, VERSION, Attempt, Pool, RunKeys, Spec, Tag
from llmlab.lifecycle import instances, one_time_schedules, pool_order
from llmlab.sandbox import market

from .conftest import CommandLine, assert_runs, put_dataset, put_image


def schedules_of(aws: Aws) -> list[dict[str, Any]]:
    listed = aws.client("scheduler").list_schedules(GroupName=aws.names.schedule_group)["Schedules"]
    return [aws.client("scheduler").get_schedule(GroupName=one["GroupName"], Name=one["Name"]) for one in listed if one["Name"][:2] == "20"]


def alive(aws: Aws) -> list[str]:
    return [one.id for one in instances.find(aws.ec2, aws.names) if one.alive]


def nothing_left(aws: Aws) -> bool:
    """No object of a run, no schedule, no instance."""
    keys = documents.keys_under(aws, aws.names.outputs_bucket, "")
    return not keys and not schedules_of(aws) and not alive(aws)


def assert_only_reads(calls: list[str]) -> None:
    assert calls
    verbs = {call.partition(":")[2] for call in calls}
    assert all(verb.startswith(("Get", "List", "Describe", "Head", "BatchGet")) for verb in verbs), verbs


@pytest.mark.parametrize(
    ("training", "agent", "chosen"),
    [
        ((), (), ""),
        (("c1",), ("c1",), "c1"),
        (("c1", "c2"), ("c1",), ""),
        ((), ("latest",), "latest"),
    ],
    ids=["no image of the agent's", "pushed together", "the training image alone is newer", "latest alone"],
)
def test_the_agent_s_image_is_the_one_pushed_beside_the_training_image(
    lab_aws: Aws, training: tuple[str, ...], agent: tuple[str, ...], chosen: str
) -> None:
    """One of another push may be of another llmlab; without one the agent runs from the training image."""
    ecr: Any = lab_aws.client("ecr")
    for repository, tags in zip(lab_aws.names.repositories, (("latest", *training), agent), strict=True):
        ecr.create_repository(repositoryName=repository)
        for tag in tags:
            put_image(lab_aws, tag, repository=repository)
    image = ecr_images.choose(lab_aws, training[-1] if training else "")
    digest = hashlib.sha256(chosen.encode()).hexdigest()
    assert image.agent == (f"{lab_aws.names.registry}/{lab_aws.names.agent_repository}@sha256:{digest}" if chosen else "")


def test_a_lab_without_a_repository_for_the_agent_has_no_image_of_it(lab_aws: Aws) -> None:
    """One that was made before there was one."""
    lab_aws.client("ecr").create_repository(repositoryName=lab_aws.names.repository)
    put_image(lab_aws, "latest")
    assert ecr_images.choose(lab_aws).agent == ""


def test_a_launch_makes_an_instance_its_documents_and_its_deadline(ready: CommandLine, lab_aws: Aws) -> None:
    result = ready("launch", "--yes", "--spot", "--max-hours", "2", "--json")
    assert result.code == 0, result.err
    facts = result.json
    spec = documents.read(lab_aws, Spec, lab_aws.names.outputs_bucket, RunKeys(facts["run"]).spec)
    attempt = documents.read(lab_aws, Attempt, lab_aws.names.outputs_bucket, RunKeys(facts["run"]).attempt(1))
    assert spec
    assert attempt
    assert (spec.spot, spec.max_hours, spec.data.name, spec.account) == (True, 2, "sums", lab_aws.account)
    assert "@sha256:" in spec.image
    assert spec.ami.startswith("ami-")
    assert attempt.instance == facts["instance"] == alive(lab_aws)[0]
    assert attempt.deadline == int(ready.clock.now().timestamp()) + 7200
    assert attempt.gpus == next(pool.gpus for pool in spec.pools if pool.instance_type == attempt.instance_type) == 1
    assert 0 < attempt.price < next(pool.on_demand_price for pool in spec.pools if pool.instance_type == attempt.instance_type)
    beside = sum(charge.hourly for charge in spec.charges)
    assert {charge.what: charge.source for charge in spec.charges} == {"disk": "Pricing API", "address": "Pricing API"}
    assert beside == pytest.approx((200 * 0.08 + (500 - 125) * 0.04) / 730 + 0.005, abs=1e-5), "the size, the throughput, the address"
    assert spec.hub_bytes == 2 * 1_500_000_000, "the recipe's model in 16 bits, which the machine has to have room for"
    assert facts["full_cost"] == pytest.approx((attempt.price + beside) * 2)
    assert facts["most_cost"] == pytest.approx(2 * (beside + max(pool.spot_price or 0 for pool in spec.pools)))
    schedule, alarm = sorted(schedules_of(lab_aws), key=lambda one: str(one["Name"]))
    assert alarm["Name"] == one_time_schedules.wake_name(facts["run"])
    assert alarm["Target"]["Arn"].endswith(f"function:{lab_aws.names.watchdog}")
    assert json.loads(alarm["Target"]["Input"]) == one_time_schedules.wake_event(facts["run"])
    assert one_time_schedules.schedule_moment(alarm["ScheduleExpression"]) == ready.clock.now() + timedelta(seconds=120)
    assert schedule["Target"]["Arn"].endswith("ec2:terminateInstances")
    assert json.loads(schedule["Target"]["Input"]) == {"InstanceIds": [attempt.instance]}
    (machine,) = instances.find(lab_aws.ec2, lab_aws.names, run=facts["run"])
    assert (machine.attempt, machine.deadline_tag, machine.spot) == (1, attempt.deadline, True)


def test_a_launch_on_demand_and_one_that_falls_back_to_it_start(ready: CommandLine, lab_aws: Aws) -> None:
    """EC2 refuses a request on demand that tags spot requests, be it by its launch template."""
    plain = ready("launch", "--yes", "--max-hours", "1", "--json")
    assert (plain.code, plain.err.count("error")) == (0, 0), plain.err
    market.refuse(lab_aws.region, market=market.SPOT)
    fallen = ready("launch", "--yes", "--spot", "--fallback-on-demand", "--max-hours", "1", "--json")
    assert (fallen.code, fallen.json["spot"]) == (0, False), fallen.err


def test_the_screen_says_what_it_costs_and_that_the_laptop_may_be_closed(ready: CommandLine) -> None:
    result = ready("launch", "--yes", "--spot", "--max-hours", "2")
    assert "the laptop may be closed" in result.out
    assert "an hour, at most $" in result.out
    assert "spot, $" in result.err
    assert "next: llmlab logs 20" in result.err


def test_a_recipe_for_the_processor_is_told_of_the_gpu_that_it_leaves_idle_and_changes_no_choice(ready: CommandLine) -> None:
    """Four GPUs have to be there all the same."""
    words = ("launch", "--dry-run", "--instance-type", "g4dn.12xlarge")
    plain, idle = ready(*words, "--json").json, ready(*words, "--set", "device=cpu", "--json").json
    assert idle["pools"] == plain["pools"]
    assert {pool["gpus"] for pool in plain["pools"]} == {4}
    (note,) = [one for one in idle["notes"] if one not in plain["notes"]]
    assert "the GPU that is paid for stays idle" in note


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """A hub on this machine, and what it is asked."""
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            known = self.path.endswith("/revision/main")
            self.send_response(200 if known else 404)
            self.send_header("X-Error-Code", "RevisionNotFound")
            self.end_headers()
            self.wfile.write(json.dumps({"sha": COMMIT}).encode() if known else b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_run_keeps_the_commit_of_its_model_and_the_line_that_launched_it(
    ready: CommandLine, lab_aws: Aws, hub: tuple[str, list[str]]
) -> None:
    address, asked = hub
    ready.environment = {"HF_HUB_OFFLINE": "", "HF_ENDPOINT": address, "LLMLAB_TRAINING_NETWORK": "true"}
    facts = ready("launch", "--yes", "--max-hours", "1", "--set", "seed=3", "--json").json
    spec = documents.read(lab_aws, Spec, lab_aws.names.outputs_bucket, RunKeys(facts["run"]).spec)
    attempt = documents.read(lab_aws, Attempt, lab_aws.names.outputs_bucket, RunKeys(facts["run"]).attempt(1))
    assert spec
    assert attempt
    assert asked == ["/api/models/Qwen/Qwen2.5-1.5B-Instruct/revision/main"]
    assert (spec.recipe["revision"], spec.recipe["model"]) == (COMMIT, "Qwen/Qwen2.5-1.5B-Instruct")
    assert (spec.command, attempt.command) == ("llmlab launch --yes --max-hours 1 --set seed=3 --json",) * 2
    assert spec.training_network
    refused = ready("launch", "--set", "revision=gone")
    assert (refused.code, refused.hint) == (2, "llmlab launch --set revision=main")
    asked.clear()
    assert ready("launch", "--dry-run", "--set", f"revision={COMMIT}").code == 0
    assert asked == []


def test_what_the_hub_does_not_tell_is_told_and_so_is_an_open_network(ready: CommandLine) -> None:
    ready.environment = {"LLMLAB_TRAINING_NETWORK": "true"}
    told = ready("launch", "--dry-run", "--json").json
    assert told["request"]["recipe"]["revision"] == "main"
    notes = " ".join(told["notes"])
    assert "the commit of Qwen/Qwen2.5-1.5B-Instruct at main is not known (HF_HUB_OFFLINE is set)" in notes
    assert "the training container may reach the network" in notes


def test_a_dry_run_only_reads(ready: CommandLine, lab_aws: Aws, recorder: list[str]) -> None:
    recorder.clear()
    result = ready("launch", "--dry-run", "--spot")
    assert result.code == 0
    assert "at most" in result.out
    assert_only_reads(recorder)
    assert nothing_left(lab_aws)


def test_keep_and_limits_reach_spec_and_tags(ready: CommandLine, lab_aws: Aws) -> None:
    facts = ready("launch", "--yes", "--no-auto-shutdown", "--no-resume", "--max-cost", "0.6", "--set", "lora.rank=8", "--json").json
    spec = documents.read(lab_aws, Spec, lab_aws.names.outputs_bucket, RunKeys(facts["run"]).spec)
    assert spec
    assert (spec.auto_shutdown, spec.resume, spec.max_cost, spec.recipe["lora"]["rank"]) == (False, False, 0.6, 8)
    assert facts["most_cost"] == 0.6
    tags = lab_aws.ec2.describe_instances(InstanceIds=[facts["instance"]])["Reservations"][0]["Instances"][0]["Tags"]
    assert Tag.KEEP in {tag["Key"] for tag in tags}


def test_several_runs_live_at_once(ready: CommandLine, lab_aws: Aws) -> None:
    names = {ready("launch", "--yes", "--json").json["run"] for _ in range(3)}
    assert len(names) == 3
    assert len(alive(lab_aws)) == 3
    listed = ready("status", "--json").json
    assert {one["run"] for one in listed["runs"]} == names
    assert {one["state"] for one in listed["runs"]} == {"starting"}


def test_the_order_of_types_is_the_users(ready: CommandLine, lab_aws: Aws) -> None:
    facts = ready("launch", "--yes", "--instance-type", "g5.2xlarge,g6.xlarge", "--json").json
    assert facts["instance_type"] == "g5.2xlarge"
    spec = documents.read(lab_aws, Spec, lab_aws.names.outputs_bucket, RunKeys(facts["run"]).spec)
    assert spec
    assert list(dict.fromkeys(pool.instance_type for pool in spec.pools)) == ["g5.2xlarge", "g6.xlarge"]


def test_no_capacity_names_every_pool_and_leaves_nothing(ready: CommandLine, lab_aws: Aws, recorder: list[str]) -> None:
    market.refuse("us-east-1")
    recorder.clear()
    result = ready("launch", "--yes", "--spot", "--instance-type", "g6.xlarge", "--instance-type", "g5.xlarge")
    assert result.code == 1
    assert result.error.startswith("no spot capacity for g6.xlarge, g5.xlarge in any of ")
    assert result.hint == "llmlab launch --yes --spot --instance-type g6.xlarge --instance-type g5.xlarge --fallback-on-demand"
    lines = [line for line in result.err.splitlines() if line.startswith("no capacity: ")]
    tried = [(line.split()[2], zone.rstrip(",")) for line in lines for zone in line.split() if zone.startswith("us-east-1")]
    offered = lab_aws.ec2.describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["g5.xlarge", "g6.xlarge"]}]
    )["InstanceTypeOfferings"]
    assert len(lines) == 2, "a type and answer a line"
    assert recorder.count("ec2:CreateFleet") >= 2, "the user's order: a type after the other"
    assert sorted(tried) == sorted((one["InstanceType"], one["Location"]) for one in offered)
    assert all(line.endswith("spot (InsufficientInstanceCapacity)") for line in lines)
    assert nothing_left(lab_aws)


def test_tiers_are_asked_one_after_the_other_and_the_dear_ones_not_at_all(ready: CommandLine, lab_aws: Aws) -> None:
    """Each CreateFleet holds pools that are as good as each other; together they are all pools of the plan."""
    asked: list[list[tuple[str, str]]] = []

    def note(params: dict[str, Any], **_: object) -> None:
        overrides = params["LaunchTemplateConfigs"][0]["Overrides"]
        asked.append([(one["InstanceType"], one["SubnetId"]) for one in overrides])

    market.refuse("us-east-1")
    client = lab_aws.client("ec2", attempts=1)
    client.meta.events.register("provide-client-params.ec2.CreateFleet", note)
    try:
        planned = ready("launch", "--spot", "--dry-run", "--json").json
        assert ready("launch", "--yes", "--spot").code == 1
    finally:
        client.meta.events.unregister("provide-client-params.ec2.CreateFleet", note)
    pools = [Pool(**one) for one in planned["pools"]]
    beside = sum(one["hourly"] for one in planned["charges"])
    tiers = pool_order.tiers(pools, (), spot=True, beside=beside)
    assert len(tiers) > 1
    assert asked == [[(pool.instance_type, pool.subnet) for pool in tier] for tier in tiers]
    dollars = [pool_order.per_work(pool, spot=True, beside=beside) for tier in tiers for pool in tier]
    assert max(dollars) <= 3.01 * min(dollars), "three times the best, but for rounded speeds"
    assert len({pool.instance_type for pool in pools}) == 8
    assert nothing_left(lab_aws)


def test_fallback_takes_on_demand(ready: CommandLine) -> None:
    market.refuse("us-east-1", market=market.SPOT)
    facts = ready("launch", "--yes", "--spot", "--fallback-on-demand", "--json").json
    assert facts["spot"] is False
    assert facts["price"] > 0.5


def test_a_spot_quota_that_is_in_use_falls_back_waits_or_says_so(ready: CommandLine, lab_aws: Aws) -> None:
    """Also minutes after a run has ended, when preflight has seen that the quota is large enough."""
    market.refuse("us-east-1", market=market.SPOT, code="MaxSpotInstanceCountExceeded")
    refused = ready("launch", "--yes", "--spot")
    assert (refused.code, refused.hint) == (4, "llmlab launch --yes --spot --wait-for-capacity 10")
    assert "is in use in us-east-1, or what used it has ended minutes ago and counts still" in refused.error
    assert "Max spot instance count exceeded" in refused.error
    patient = ready("launch", "--yes", "--spot", "--wait-for-capacity", "2")
    assert (patient.code, patient.err.count("asking again")) == (4, 2)
    assert nothing_left(lab_aws)
    assert ready("launch", "--yes", "--spot", "--fallback-on-demand", "--json").json["spot"] is False


def test_waiting_for_capacity_asks_every_minute_and_moves_the_deadline(ready: CommandLine, lab_aws: Aws) -> None:
    before = ready.clock.now().timestamp()
    market.refuse("us-east-1")
    result = ready("launch", "--yes", "--wait-for-capacity", "5")
    assert result.code == 1
    assert result.err.count("asking again") == 5
    assert ready.clock.now().timestamp() - before >= 300
    assert nothing_left(lab_aws)


def test_one_pool_without_capacity_is_passed_over(ready: CommandLine) -> None:
    best = ready("launch", "--yes", "--json").json["instance_type"]
    market.refuse("us-east-1", best)
    assert ready("launch", "--yes", "--json").json["instance_type"] != best


def test_a_quota_of_zero_stops_before_anything_is_made(ready: CommandLine, lab_aws: Aws, recorder: list[str]) -> None:
    market.set_quota("us-east-1", "L-3819A6DF", 0)
    recorder.clear()
    result = ready("launch", "--yes", "--spot")
    assert result.code == 4
    words = "needs 4 vCPUs, and the quota of spot G and VT instances (L-3819A6DF) is 0 vCPUs in us-east-1"
    assert result.error.partition(" ")[2] == words
    command, _, other = result.hint.partition("  # or: ")
    assert command == (
        "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-3819A6DF --desired-value 4 --region us-east-1"
    )
    assert other == "llmlab doctor --request-quota"
    assert_only_reads(recorder)
    assert nothing_left(lab_aws)
    assert ready("launch", "--yes", "--on-demand").code == 0


def test_the_quota_counts_what_runs_already(ready: CommandLine) -> None:
    market.set_quota("us-east-1", "L-DB2E81BA", 6)
    assert ready("launch", "--yes", "--instance-type", "g6.xlarge").code == 0
    result = ready("launch", "--yes", "--instance-type", "g6.xlarge")
    assert result.code == 4
    assert "6 vCPUs, 4 of them in use" in result.error


BAD = (
    (["--max-hours", "0"], 2, "max-hours must be more than 0", "llmlab launch --max-hours 6"),
    (["--max-hours", "10000"], 2, "at most 168 (a week), not 10000", "llmlab launch --max-hours 6"),
    (["--max-cost", "-1"], 2, "max-cost must be more than 0 dollars", "llmlab launch --max-cost 10"),
    (["--data", "summs"], 2, "there is no dataset summs; there are: sums", "llmlab launch --data sums"),
    (["--set", "model=lab:nope"], 2, "the model lab:nope has not been uploaded", "llmlab upload nope/ --model nope"),
    (["--set", "lora.rnk=8"], 2, "there is no field lora.rnk", "llmlab launch --set lora.rank=8"),
    (["--set", "rank"], 2, "--set takes FIELD=VALUE", "llmlab launch --set lora.rank=8"),
    (["--image", "v9"], 1, "no training image tagged v9", "llmlab image push"),
    (["--fallback-on-demand"], 2, "--fallback-on-demand is for --spot", "llmlab launch --fallback-on-demand --spot"),
    (
        ["--max-hours", "0.1"],
        2,
        "max-hours 0.1 is over before training begins: an instance takes about 9 minutes",
        "llmlab launch --max-hours 1",
    ),
    (
        ["--max-cost", "0.1"],
        2,
        "max-cost $0.10 pays for less than an hour of the cheapest that fits: g4dn.xlarge on-demand, $0.57",
        "llmlab launch --",
    ),
    (
        ["--spot", "--max-hours", "0.3", "--set", "save_minutes=30"],
        4,
        "without checkpoints",
        "llmlab launch --spot --max-hours 0.3 --set save_minutes=10",
    ),
    (["--instance-type", "p3.2xlarge"], 2, "p3.2xlarge is retired; of its class there are here: ", "llmlab launch --instance-type g"),
    (["--instance-type", "g5g.xlarge"], 2, "arm64", "llmlab launch --instance-type g"),
    (["--instance-type", "g6f.xlarge"], 2, "a fraction of a GPU", "llmlab launch --instance-type g"),
    (["--instance-type", "g4ad.xlarge"], 2, "g4ad.xlarge", "llmlab launch --instance-type g"),
    (["--instance-type", "p4d.24xlarge", "--spot"], 4, "(L-7212CCBC) is 0 vCPUs in us-east-1", "aws service-quotas request"),
    (
        ["--instance-type", "g7.2xlarge"],
        1,
        "no on-demand instance for this recipe can be had in us-east-1: g7.2xlarge: no price known",
        "llmlab est",
    ),
    (["--instance-type", "p5.48xlarge", "--spot"], 4, "spot P5 instances (L-C4BD4855) is ", "aws service-quotas request"),
    (["--instance-type", "t3.micro"], 2, "t3.micro has no GPU", "llmlab launch --instance-type g"),
    (["--instance-type", "g99.xlarge"], 2, "there is no instance type g99.xlarge in us-east-1", "llmlab launch --instance-type g"),
    (["--set", "model=x/llama-70b", "--set", "parallel=ddp"], 4, "on-demand P instances (L-417A185B) is 0 vCPUs", "aws service-quotas r"),
    (
        ["--set", "device=cpu", "--set", "precision=fp16"],
        2,
        "precision fp16 needs a GPU",
        "llmlab launch --set device=cpu --set precision=auto",
    ),
    (["--set", "model=x/llama-5000b"], 1, "the recipe needs about ", "llmlab launch --set model=x/llama-5000b --set batch_size=2"),
)
"""Arguments, exit code, what the sentence says, how the hint begins once what else was typed is taken out of it."""
LIMITS = ("--dry-run", "--no-resume", "--recipe", "lora-1b")
"""Typed with each of them: what the next line may not lose."""


def test_bad_input_gets_a_sentence_and_a_hint_that_keeps_what_was_typed(ready: CommandLine, lab_aws: Aws) -> None:
    """One lab for all of them, as bootstrapping one costs a second; none of them may leave anything."""
    kept, others = 0, []
    for arguments, code, error, hint in BAD:
        limits = (*LIMITS, *(() if "--max-cost" in arguments else ("--max-cost", "5000")))
        result = ready("launch", *limits, *arguments)
        assert error in result.error, arguments
        assert result.code == code, arguments
        assert nothing_left(lab_aws), arguments
        assert_runs(result.hint)
        if not result.hint.startswith("llmlab launch "):
            others.append(result.hint)
            assert result.hint.startswith(hint), arguments
            continue
        words = shlex.split(result.hint)
        assert words[2 : 2 + len(limits)] == [*limits], arguments
        assert " ".join([*words[:2], *words[2 + len(limits) :]]).startswith(hint), arguments
        kept += 1
    assert (kept, len(others)) == (18, 6)


def test_a_retired_type_is_answered_with_gpus_that_exist(ready: CommandLine, lab_aws: Aws) -> None:
    result = ready("launch", "--instance-type", "p3.2xlarge")
    named = [word for word in result.error.replace("(", " ").split() if word.startswith(("g4dn.", "g5.", "g6."))]
    assert {"g4dn.xlarge", "g5.xlarge", "g6.xlarge"} <= set(named)
    assert lab_aws.ec2.describe_instance_types(InstanceTypes=named)["InstanceTypes"]  # type: ignore[arg-type]


def test_several_datasets_want_a_name(ready: CommandLine, lab_aws: Aws) -> None:
    put_dataset(lab_aws, "jokes")
    result = ready("launch")
    assert result.error == "there are several datasets, name one: jokes, sums"
    assert ready("launch", "--yes", "--data", "jokes", "--json").json["data"] == "jokes"


def test_an_image_is_taken_by_its_tag(ready: CommandLine, lab_aws: Aws) -> None:
    put_image(lab_aws, "v2")
    images = [ready("launch", "--yes", "--image", tag, "--json").json["image"] for tag in ("latest", "v2")]
    assert images[0] != images[1]
    assert ready("launch", "--yes", "--json").json["image"] in images


@pytest.mark.parametrize(
    ("architecture", "labels", "refusal"),
    [
        ("arm64", {IMAGE_LABEL: str(VERSION)}, "the image v3 is for arm64 and the lab's machines are amd64"),
        ("amd64", None, "the image v3 is no training image of llmlab"),
        (
            "amd64",
            {IMAGE_LABEL: "77"},
            f"the image v3 has version 77 of the names that programs share, and this llmlab has {VERSION}",
        ),
    ],
    ids=["architecture", "stranger", "version"],
)
def test_an_image_that_its_machine_would_refuse(
    ready: CommandLine, lab_aws: Aws, architecture: str, labels: dict[str, str] | None, refusal: str
) -> None:
    put_image(lab_aws, "v3", {"architecture": architecture, "config": {"Labels": labels}})
    result = ready("launch", "--image", "v3")
    assert (result.code, result.error, result.hint) == (4, refusal, "llmlab image push")
    assert lab_aws.ec2.describe_instances()["Reservations"] == []
    put_image(lab_aws, "v4", {"architecture": "amd64", "config": {"Labels": {IMAGE_LABEL: str(VERSION)}}})
    assert ready("launch", "--yes", "--image", "v4").code == 0


def test_without_a_lab_it_says_bootstrap(lab: CommandLine) -> None:
    for command in (["launch"], ["status"], ["logs"], ["stop", "latest"]):
        result = lab(*command)
        assert (result.code, result.hint) == (1, "llmlab --region us-east-1 bootstrap"), command


@pytest.mark.parametrize("broken", ["s3:PutObject", "scheduler:CreateSchedule", "ec2:CreateFleet", "scheduler:UpdateSchedule"])
def test_ctrl_c_at_any_call_leaves_nothing(ready: CommandLine, lab_aws: Aws, broken: str) -> None:
    """Ctrl-C once just before and once just after each writing call of a launch."""
    assert_undone(ready, lab_aws, broken, "before-call", KeyboardInterrupt(), 130)
    assert_undone(ready, lab_aws, broken, "after-call", KeyboardInterrupt(), 130)


def assert_undone(ready: CommandLine, aws: Aws, call: str, when: str, error: BaseException, code: int) -> None:
    service, _, operation = call.partition(":")
    reached: list[str] = []

    def interrupt(**_: object) -> None:
        if not reached:
            reached.append(call)
            raise error

    clients = {aws.client(service), aws.client(service, attempts=1)}
    event = f"{when}.{service}.{operation}"
    for client in clients:
        client.meta.events.register(event, interrupt)
    try:
        result = ready("launch", "--yes", "--spot")
    finally:
        for client in clients:
            client.meta.events.unregister(event, interrupt)
    assert reached
    assert result.code == code, result.err
    assert nothing_left(aws), documents.keys_under(aws, aws.names.outputs_bucket, "")
    assert not documents.runs(aws, aws.names.outputs_bucket)


def test_a_denied_call_is_named_and_leaves_nothing(ready: CommandLine, lab_aws: Aws) -> None:
    from llmlab.aws.session import Denied

    error = Denied("AWS denied ec2:CreateFleet", "llmlab doctor", code="UnauthorizedOperation", operation="ec2:CreateFleet")
    assert_undone(ready, lab_aws, "ec2:CreateFleet", "before-call", error, 5)


def test_how_it_heals_is_written_into_the_spec(ready: CommandLine, lab_aws: Aws) -> None:
    words = ["--fallback-on-demand", "--fallback-after", "2", "--fallback-minutes", "5", "--wait-hours", "3", "--idle-minutes", "0"]
    facts = ready("launch", "--yes", "--spot", *words, "--json").json
    spec = documents.read(lab_aws, Spec, lab_aws.names.outputs_bucket, RunKeys(facts["run"]).spec)
    assert spec
    assert (spec.fallback_interruptions, spec.fallback_minutes, spec.wait_hours, spec.idle_minutes) == (2, 5, 3, 0)


@pytest.mark.parametrize(
    ("option", "value"), [("fallback-after", "0"), ("fallback-minutes", "-1"), ("wait-hours", "169"), ("idle-minutes", "-5")]
)
def test_patience_that_makes_no_sense(ready: CommandLine, lab_aws: Aws, option: str, value: str) -> None:
    result = ready("launch", "--spot", f"--{option}", value)
    assert result.code == 2
    assert result.error.startswith(f"{option} must be between ")
    assert result.hint.startswith(f"llmlab launch --spot --{option} ")
    assert nothing_left(lab_aws)


def test_data_that_the_objective_does_not_learn_from_is_refused_before_anything_is_asked_for(ready: CommandLine, lab_aws: Aws) -> None:
    put_dataset(lab_aws, "pairs", kinds={"preference": 40})
    result = ready("launch", "--data", "pairs", "--set", "objective=sft")
    assert result.code == 1
    assert result.error == "all 40 examples of pairs are preferences (chosen, rejected), which objective sft does not learn from"
    assert result.hint == "llmlab launch --data pairs --set objective=dpo"
    assert nothing_left(lab_aws)
    assert ready("launch", "--data", "pairs", "--set", "objective=dpo", "--dry-run").code == 0
    assert ready("launch", "--data", "sums", "--set", "objective=dpo", "--dry-run").code == 0  # uploaded by a version that noted no kinds


def test_examples_that_do_not_fit_are_counted_before_anything_is_asked_for(ready: CommandLine, lab_aws: Aws) -> None:
    put_dataset(lab_aws, "long", kinds={"chat": 40}, lengths={"64": 30, "4096": 10})
    result = ready("launch", "--data", "long", "--set", "max_length=512", "--dry-run")
    assert result.code == 0
    assert "30 of 40 examples fit into max_length 512; 10 would be left out" in " ".join(result.out.split())
