"""`status`, `logs`, `stop` and `resume` through `main`, on runs whose machines are played by writing what an agent writes."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmlab import contract
from llmlab.aws import documents, sessions
from llmlab.aws.session import Aws
from llmlab.contract import Attempt, EndReason, Heartbeat, LogStream, Marker, Progress, RunKeys, Stop
from llmlab.errors import LabError
from llmlab.lifecycle import instances, one_time_schedules
from llmlab.ops import run_marker, runs
from llmlab.ops.connect import ATTACH

from .conftest import CommandLine


def launch(ready: CommandLine, *more: str) -> tuple[str, str]:
    facts = ready("launch", "--yes", "--spot", "--json", *more).json
    return facts["run"], facts["instance"]


def beat(ready: CommandLine, aws: Aws, run: str, instance: str, attempt: int = 1) -> None:
    progress = Progress("training", 50, 100, 0.5, 1.25, 1e-4, 5000, 812.0, 60.0)
    at = contract.build_timestamp(ready.clock.now())
    heartbeat = Heartbeat(run, attempt, at, instance, "training", progress, 91.0, 14.2, 40)
    documents.write(aws, aws.names.outputs_bucket, RunKeys(run).status, heartbeat)


def finish(ready: CommandLine, aws: Aws, run: str, reason: EndReason, detail: str = "", cost: float = 0.1) -> None:
    """The agent's last words, and the machine's power-off."""
    bucket, keys = aws.names.outputs_bucket, RunKeys(run)
    marker = Marker(run, reason, contract.build_timestamp(ready.clock.now()), 1, detail, "", 100, 100, 0.5, 0.25, cost)
    documents.write(aws, bucket, keys.success if reason is EndReason.COMPLETED else keys.failure, marker)
    documents.touch(aws, bucket, keys.ended(reason))
    instances.terminate(aws.ec2, [one.id for one in instances.find(aws.ec2, aws.names, run=run)])


def log(ready: CommandLine, aws: Aws, run: str, stream: LogStream, *lines: str, attempt: int = 1) -> None:
    client, group, name = aws.client("logs"), aws.names.log_group(stream), contract.log_stream_name(run, attempt)
    client.create_log_stream(logGroupName=group, logStreamName=name)
    at = int(ready.clock.now().timestamp() * 1000)
    events = [{"timestamp": at + 1000 * index, "message": line} for index, line in enumerate(lines)]
    client.put_log_events(logGroupName=group, logStreamName=name, logEvents=events)


def complete_checkpoint(aws: Aws, run: str, step: int) -> None:
    key = RunKeys(run).checkpoint(step) + contract.COMPLETE
    documents.write(aws, aws.names.outputs_bucket, key, contract.Complete(step, ()))


# ---------------------------------------------------------------- status


def test_an_empty_lab(ready: CommandLine) -> None:
    result = ready("status")
    assert result.code == 0
    assert "no runs yet" in result.out
    assert "next: llmlab launch" in result.err


@pytest.mark.slow
def test_results_without_a_lab(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    finish(ready, lab_aws, run, EndReason.COMPLETED)
    assert ready("teardown", "--yes").code == 0
    result = ready("status")
    assert result.code == 0
    assert result.out.splitlines()[0].endswith("its results are kept: 1 run")
    assert run in result.out
    assert result.err.splitlines() == ["next: llmlab bootstrap"]
    assert ready("status", "--json").json["bootstrapped"] is False


def test_a_running_run_in_the_list_and_alone(ready: CommandLine, lab_aws: Aws) -> None:
    run, instance = launch(ready)
    beat(ready, lab_aws, run, instance)
    (one,) = ready("status", "--json").json["runs"]
    assert (one["state"], one["step"], one["loss"], one["gpu_percent"], one["eta_seconds"]) == ("running", 50, 1.25, 91.0, 60.0)
    assert "50/100" in ready("status").out
    screen = ready("status", run)
    assert "step        50/100, loss 1.2500" in screen.out
    assert "812 tokens/s, GPU 91 %, 14.2 GiB" in screen.out
    assert screen.err.endswith(f"next: llmlab logs {run} -f\n")


def test_what_a_run_earns_is_told_beside_its_loss(ready: CommandLine, lab_aws: Aws, project: Path) -> None:
    (project / "recipe.yaml").write_text(
        "model: some/model-1b\nobjective: grpo\nbatch_size: 8\n"
        "grpo: {num_generations: 4, rewards: [exact_match, {similarity: true, weight: 0.2}]}\n"
    )
    run, instance = launch(ready)
    at, bucket, keys = contract.build_timestamp(ready.clock.now()), lab_aws.names.outputs_bucket, RunKeys(run)
    told = {"loss": 0.0, "reward": 0.8125, "margin": 1.5}
    progress = Progress("training", 50, 100, 0.5, learning_rate=1e-4, **told)  # type: ignore[arg-type]
    documents.write(lab_aws, bucket, keys.status, Heartbeat(run, 1, at, instance, "training", progress))
    (living,) = ready("status", "--json").json["runs"]
    assert (living["objective"], {name: living[name] for name in told}) == ("grpo", told)
    screen = " ".join(ready("status", run).out.split())
    assert "step 50/100, loss 0.0000, reward 0.8125, margin 1.5000 " in screen
    assert "recipe grpo, lora on some/model-1b rewards exact_match, 0.2 x similarity " in screen
    marker = Marker(run, EndReason.COMPLETED, at, 1, step=100, total_steps=100, **told)  # type: ignore[arg-type]
    documents.write(lab_aws, bucket, keys.success, marker)
    documents.touch(lab_aws, bucket, keys.ended(marker.reason))
    instances.terminate(lab_aws.ec2, [instance])
    (over,) = ready("status", "--json").json["runs"]
    assert (over["state"], {name: over[name] for name in told}) == ("succeeded", told)


def test_a_heartbeat_without_an_instance_is_no_running_run(ready: CommandLine, lab_aws: Aws) -> None:
    run, instance = launch(ready)
    beat(ready, lab_aws, run, instance)
    instances.terminate(lab_aws.ec2, [instance])
    (one,) = ready("status", "--json").json["runs"]
    assert one["state"] == "interrupted"


def test_why_a_run_ended(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    finish(ready, lab_aws, run, EndReason.OUT_OF_MEMORY, "the GPU's 22 GiB were not enough")
    assert "failed (out_of_memory)" in ready("status").out.replace("\n", " ")
    screen = ready("status", "latest")
    assert "the GPU's 22 GiB were not enough" in screen.out
    assert "next: llmlab launch --spot --set batch_size=1 --set max_length=1024\n" in screen.err
    assert ready("status", "--json").json["runs"][0]["hint"] == f"llmlab status {run}", "a listing knows no line to go on from"


def test_a_run_is_named_by_a_part_or_latest(ready: CommandLine) -> None:
    first, _ = launch(ready)
    ready.clock.sleep(5)
    second, _ = launch(ready)
    assert ready("status", "latest", "--json").json["run"]["run"] == second
    assert ready("status", first[-4:], "--json").json["run"]["run"] == first
    several = ready("status", first[:8])
    assert several.error.startswith(f"{first[:8]} stands for 2 runs")


@pytest.mark.parametrize("command", ["status", "logs", "stop", "resume", "connect"])
def test_an_unknown_run_is_answered_with_the_nearest(ready: CommandLine, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    run, _ = launch(ready)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    wrong = run[:-4] + "zzzz"
    result = ready(command, wrong)
    assert result.code == 1
    assert result.error == f"there is no run {wrong}; the nearest: {run}"
    assert result.hint == f"llmlab status {run}"


def test_watch_ends_with_the_run(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    finish(ready, lab_aws, run, EndReason.COMPLETED)
    assert ready("status", run, "--watch").code == 0
    assert ready("status", run, "--watch", "--json").code == 2


def test_a_thousand_finished_runs_take_at_most_ten_calls(ready: CommandLine, lab_aws: Aws, recorder: list[str]) -> None:
    from moto.s3.models import s3_backends

    backend, bucket = s3_backends[lab_aws.account]["aws"], lab_aws.names.outputs_bucket  # two thousand puts through the API take a minute
    for number in range(1000):
        run = f"202611{1 + number // 50:02d}-{number % 50:02d}0000-{number:04d}"
        marker = Marker(run, EndReason.COMPLETED, "2026-11-24T00:00:00Z", 1, step=10, total_steps=10, loss=0.5, hours=1.0, cost=0.8)
        backend.put_object(bucket, RunKeys(run).success, contract.dump(marker).encode())
        backend.put_object(bucket, RunKeys(run).ended(EndReason.COMPLETED), b"")
    recorder.clear()
    facts = ready("status", "--json").json
    assert len(recorder) <= 10, recorder
    assert (facts["total"], facts["live"], len(facts["runs"])) == (1000, 0, runs.SHOWN)
    newest = facts["runs"][0]
    assert (newest["run"], newest["state"], newest["cost"]) == ("20261120-490000-0999", "succeeded", 0.8)
    assert "990 older: llmlab status --all" in ready("status").out


# ---------------------------------------------------------------- logs


def test_logs_of_one_run_in_the_order_of_time(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    log(ready, lab_aws, run, LogStream.SETUP, "2026-11-24T00:00:01Z the image is here")
    log(ready, lab_aws, run, LogStream.TRAINING, "step 1", "step 2")
    log(ready, lab_aws, "20261124-000000-othr", LogStream.TRAINING, "not this one")
    lines = ready("logs", run).out.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["setup    the image is here", "training step 1", "training step 2"]
    assert lines[0].startswith("2026-11-24T00:00:01Z ")
    assert [line.split(" ", 1)[1] for line in ready("logs", run, "--stream", "training").out.splitlines()] == ["step 1", "step 2"]
    assert [one["text"] for one in ready("logs", run, "--json").json] == ["the image is here", "step 1", "step 2"]


def test_logs_come_from_s3_when_cloudwatch_has_forgotten(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    lab_aws.s3.put_object(Bucket=lab_aws.names.outputs_bucket, Key=RunKeys(run).log(LogStream.TRAINING, 2), Body=b"second\xff\n")
    lab_aws.s3.put_object(Bucket=lab_aws.names.outputs_bucket, Key=RunKeys(run).log(LogStream.TRAINING, 1), Body=b"first\n")
    assert ready("logs", run).out == "training first\ntraining second\ufffd\n"


def test_following_ends_when_the_run_is_over(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    log(ready, lab_aws, run, LogStream.TRAINING, "step 1")
    finish(ready, lab_aws, run, EndReason.COMPLETED)
    result = ready("logs", run, "-f")
    assert result.code == 0
    assert result.out.count("step 1") == 1


def test_no_logs_yet_and_bad_options(ready: CommandLine) -> None:
    run, _ = launch(ready)
    assert ready("logs", run).error == f"there are no log lines of {run} yet"
    assert ready("logs", run, "--since", "soon").error == "--since takes a number and one of s, m, h, d, not soon"
    assert ready("logs", run, "--stream", "kernel").error == "there is no log kernel; there are: setup, training, agent"


# ---------------------------------------------------------------- stop and resume


def test_stop_asks_then_ends_by_tag_and_marks(ready: CommandLine, lab_aws: Aws) -> None:
    run, instance = launch(ready)
    result = ready("stop", run, "--limit-minutes", "1")
    assert result.code == 0
    assert documents.read(lab_aws, Stop, lab_aws.names.outputs_bucket, RunKeys(run).stop)
    assert f"ending {instance}" in result.err
    assert not [one for one in instances.find(lab_aws.ec2, lab_aws.names, run=run) if one.alive]
    marker = documents.read(lab_aws, Marker, lab_aws.names.outputs_bucket, RunKeys(run).failure)
    assert marker
    assert marker.reason is EndReason.STOPPED_BY_USER
    assert ready("status", run, "--json").json["run"]["state"] == "stopped"
    schedules = lab_aws.client("scheduler").list_schedules(GroupName=lab_aws.names.schedule_group)["Schedules"]
    assert [one["Name"] for one in schedules if one["Name"].startswith(run)] == [one_time_schedules.wake_name(run)], (
        "what tells people of the end, and then goes"
    )
    again = ready("stop", run)
    assert again.code == 0
    assert "was over already" in again.out


def test_stop_ends_every_instance_of_the_run_and_no_other(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    other, kept = launch(ready)
    twin = ready("launch", "--yes", "--json").json
    tags = [{"Key": "Run", "Value": run}, {"Key": "Attempt", "Value": "2"}]
    lab_aws.ec2.create_tags(Resources=[twin["instance"]], Tags=tags)  # type: ignore[arg-type]
    assert len(ready("stop", run, "--now", "--json").json["terminated"]) == 2
    assert [one.id for one in instances.find(lab_aws.ec2, lab_aws.names) if one.alive] == [kept]
    assert other


def test_a_run_without_an_instance_is_marked_so_that_it_stays_stopped(ready: CommandLine, lab_aws: Aws) -> None:
    run, instance = launch(ready)
    instances.terminate(lab_aws.ec2, [instance])
    assert ready("stop", run).code == 0
    assert ready("status", run, "--json").json["run"]["reason"] == "stopped_by_user"


def test_resume_goes_on_from_the_newest_complete_checkpoint(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    complete_checkpoint(lab_aws, run, 20)
    complete_checkpoint(lab_aws, run, 100)
    lab_aws.s3.put_object(Bucket=lab_aws.names.outputs_bucket, Key=RunKeys(run).checkpoint(120) + "model.safetensors", Body=b"half")
    finish(ready, lab_aws, run, EndReason.TIMED_OUT)
    facts = ready("resume", run, "--max-hours", "2", "--on-demand", "--yes", "--json").json
    assert facts["step"] == 100
    attempt = facts["attempt"]
    assert (attempt["number"], attempt["spot"], attempt["by"], attempt["hours_before"]) == (2, False, "resume", 0.25)
    assert attempt["max_hours"] == 2.25
    shown = ready("status", run, "--json").json
    assert (shown["run"]["state"], shown["run"]["attempt"], len(shown["attempts"])) == ("starting", 2, 2)
    assert documents.ended(lab_aws, lab_aws.names.outputs_bucket) == {}


def test_a_run_that_is_resumed_is_not_left_among_those_that_ended(
    ready: CommandLine, lab_aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watchdog that saw it over may list it right after the resume has taken it from the list; a sweep would not look at it then."""
    run, _ = launch(ready)
    finish(ready, lab_aws, run, EndReason.STOPPED_BY_USER)
    clear = run_marker.clear

    def listed_again(aws: Aws, cleared: str) -> None:
        clear(aws, cleared)
        documents.touch(aws, aws.names.outputs_bucket, RunKeys(run).ended(EndReason.STOPPED_BY_USER))

    monkeypatch.setattr(run_marker, "clear", listed_again)
    assert ready("resume", run, "--max-hours", "2", "--yes").code == 0
    assert documents.ended(lab_aws, lab_aws.names.outputs_bucket) == {}


def test_resume_refuses_what_is_alive_or_complete(ready: CommandLine, lab_aws: Aws) -> None:
    run, instance = launch(ready)
    alive = ready("resume", run)
    assert (alive.code, alive.hint) == (4, f"llmlab stop {run}")
    assert instance in alive.error
    finish(ready, lab_aws, run, EndReason.COMPLETED)
    done = ready("resume", run)
    assert (done.code, done.hint) == (4, f"llmlab fetch {run}")


def test_resume_refuses_a_run_for_which_an_instance_is_being_asked(ready: CommandLine, lab_aws: Aws) -> None:
    """By another resume or by the watchdog: a second claim would be a second instance. A stop settles it, even where the claim's writer
    broke off before it took the run's last word away.
    """
    run, _ = launch(ready)
    ready("stop", run, "--now")
    bucket, keys = lab_aws.names.outputs_bucket, RunKeys(run)
    first = documents.read(lab_aws, Attempt, bucket, keys.attempt(1))
    assert first is not None
    documents.write(lab_aws, bucket, keys.attempt(2), replace(first, number=2, by="resume", instance="", launched=""))
    refused = ready("resume", run, "--max-hours", "2")
    assert (refused.code, refused.hint) == (4, f"llmlab stop {run}")
    assert "attempt 2" in refused.error
    assert "has no instance yet" in refused.error
    assert ready("stop", run).code == 0
    assert ready("status", run, "--json").json["run"]["reason"] == "stopped_by_user"
    assert ready("resume", run, "--max-hours", "2", "--json", "--yes").json["attempt"]["number"] == 3


def test_resume_wants_more_hours_or_dollars_when_they_are_used_up(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready, "--max-hours", "0.3", "--max-cost", "0.5")
    finish(ready, lab_aws, run, EndReason.COST_REACHED, cost=0.5)
    both = ready("resume", run)
    assert both.hint == f"llmlab resume {run} --max-hours 6 --max-cost 10"
    assert re.search(r"has used 0\.\d of its 0\.3 hours and cost \$0\.50 of its \$0\.50; give it more", both.error)
    assert ready("resume", run, "--max-cost", "1").hint == f"llmlab resume {run} --max-cost 1 --max-hours 6"
    assert ready("resume", run, "--max-hours", "1").hint == f"llmlab resume {run} --max-hours 1 --max-cost 10"
    assert ready("resume", run, "--max-hours", "10000", "--max-cost", "1").code == 2
    little = ready("resume", run, "--max-hours", "1", "--max-cost", "0.01")
    assert (little.code, little.error.partition(":")[0]) == (2, "$0.01 end before training begins")
    assert ready("resume", run, "--max-hours", "1", "--max-cost", "1", "--yes").code == 0


def test_a_resume_without_capacity_leaves_the_run_as_it_was(ready: CommandLine, lab_aws: Aws) -> None:
    from llmlab.sandbox import market

    run, _ = launch(ready)
    finish(ready, lab_aws, run, EndReason.TRAINING_ERROR, "as it was")
    before = ready("status", run, "--json").json
    market.refuse("us-east-1")
    result = ready("resume", run, "--yes")
    assert (result.code, result.hint) == (1, f"llmlab resume {run} --yes --spot --fallback-on-demand")
    after = ready("status", run, "--json").json
    assert after == before
    assert [one.reason for one in documents.ended(lab_aws, lab_aws.names.outputs_bucket).values()] == [EndReason.TRAINING_ERROR]


def test_a_resumed_run_is_never_without_a_claim_or_its_last_word(ready: CommandLine, lab_aws: Aws) -> None:
    """Whatever the moment the watchdog looks: it has to find the one or the other, or it would mark the run anew."""
    from llmlab.sandbox import market

    run, _ = launch(ready)
    finish(ready, lab_aws, run, EndReason.TRAINING_ERROR)
    market.refuse("us-east-1")
    keys, happened = RunKeys(run), []

    def note(params: dict[str, Any], model: Any, **_: object) -> None:
        names = [params["Key"]] if "Key" in params else [one["Key"] for one in params.get("Delete", {}).get("Objects", [])]
        happened.extend((model.name, name) for name in names if name in {keys.attempt(2), keys.failure})

    events = lab_aws.s3.meta.events
    for verb in ("PutObject", "DeleteObjects"):
        events.register(f"before-parameter-build.s3.{verb}", note)
    try:
        assert ready("resume", run, "--yes").code == 1
    finally:
        for verb in ("PutObject", "DeleteObjects"):
            events.unregister(f"before-parameter-build.s3.{verb}", note)
    assert happened == [
        ("PutObject", keys.attempt(2)),
        ("DeleteObjects", keys.failure),
        ("PutObject", keys.failure),
        ("DeleteObjects", keys.attempt(2)),
    ]


def test_a_stale_marker_does_not_hide_a_resumed_run(ready: CommandLine, lab_aws: Aws) -> None:
    """A watchdog that had looked before the resume wrote its verdict after it."""
    run, _ = launch(ready)
    finish(ready, lab_aws, run, EndReason.INSTANCE_LOST)
    bucket, keys = lab_aws.names.outputs_bucket, RunKeys(run)
    late = documents.read(lab_aws, Marker, bucket, keys.failure)
    ready("resume", run, "--max-hours", "2", "--yes")
    documents.write(lab_aws, bucket, keys.failure, late)
    documents.touch(lab_aws, bucket, keys.ended(EndReason.INSTANCE_LOST))
    assert ready("status", run, "--json").json["run"]["state"] == "starting"
    listed = ready("status", "--json").json
    assert ([one["state"] for one in listed["runs"]], listed["live"]) == (["starting"], 1)


def test_connect_names_what_is_missing(ready: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = launch(ready)
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert ready("connect", run).error == "session-manager-plugin is not installed, and AWS sessions need it"
    assert ready("connect", run, "--port-forward", "http").error == "--port-forward takes PORT or LOCAL:REMOTE, not http"


@pytest.mark.slow
def test_in_a_small_lab_every_shown_run_has_its_details(ready: CommandLine, lab_aws: Aws) -> None:
    for _ in range(5):
        run, _ = launch(ready)
        finish(ready, lab_aws, run, EndReason.COMPLETED)
    assert [one["cost"] for one in ready("status", "--json").json["runs"]] == [0.1] * 5


# ---------------------------------------------------------------- teardown


@pytest.mark.parametrize(
    ("step", "lost"),
    [
        (40, "what comes after its checkpoint of step 40 is lost"),
        pytest.param(0, "it has no checkpoint, so all of it is lost", marks=pytest.mark.slow),
    ],
)
def test_a_teardown_names_the_runs_that_it_ends_and_leaves_them_stopped(ready: CommandLine, lab_aws: Aws, step: int, lost: str) -> None:
    run, instance = launch(ready)
    if step:
        beat(ready, lab_aws, run, instance)
        complete_checkpoint(lab_aws, run, step)
    over, _ = launch(ready)
    finish(ready, lab_aws, over, EndReason.COMPLETED)
    refused = ready("teardown")
    assert refused.code == 4
    at = "step 50 of 100" if step else "step 0"
    assert f"at {at}: it ends, and {lost}; llmlab stop {run} saves it first" in " ".join(refused.err.split())
    assert over not in refused.err
    torn = ready("teardown", "--yes", "--json")
    assert torn.code == 0
    assert torn.json["stopped"] == [run]
    state = ready("status", run, "--json").json["run"]
    assert (state["state"], state["detail"], state["checkpoint"]) == ("stopped", "the lab was torn down", step)
    assert ready("status", over, "--json").json["run"]["state"] == "succeeded"
    resumed = ready("resume", run, "--yes")
    assert (resumed.code, resumed.hint) == (4, "llmlab bootstrap")
    assert ready("status", run, "--json").json["run"]["state"] == "stopped"
    assert resumed.error == "the lab llm-tuning-lab in us-east-1 was torn down, and only its results are there"


@pytest.mark.parametrize("forward", ["", "6006", "8080:80"])
def test_connect_hands_the_plugin_what_start_session_answered(
    ready: CommandLine, lab_aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forward: str
) -> None:
    plugin, told = tmp_path / "session-manager-plugin", tmp_path / "told"
    plugin.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {told}\n')
    plugin.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    run, instance = launch(ready)
    result = ready("connect", run, *(("--port-forward", forward) if forward else ()))
    assert result.code == 0, result.err
    answer, region, operation, _profile, request, endpoint = told.read_text().splitlines()
    assert set(json.loads(answer)) == {"SessionId", "TokenValue", "StreamUrl"}
    assert (region, operation, endpoint) == (lab_aws.region, "StartSession", "https://ssm.us-east-1.amazonaws.com")
    asked = json.loads(request)
    assert asked["Target"] == instance
    ports = forward.split(":")
    wanted = {"localPortNumber": ports[:1], "portNumber": ports[-1:]} if forward else {"command": [ATTACH]}
    assert asked["Parameters"] == wanted
    lab_aws.ec2.terminate_instances(InstanceIds=[instance])
    assert ready("connect", run).error == f"{run} has no running instance"


def test_connect_says_that_an_instance_has_not_reached_systems_manager_yet(lab_aws: Aws) -> None:
    with pytest.raises(LabError, match="i-0123456789abcdef0 has not reached Systems Manager yet"):
        sessions.start(lab_aws, {"Target": "i-0123456789abcdef0", "DocumentName": "AWS-StartInteractiveCommand"})
