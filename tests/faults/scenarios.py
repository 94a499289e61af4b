"""Commands that are broken at every call, what has to be there before, what goes on afterwards, and the laws of each."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmlab import contract, timers
from llmlab.contract import PROJECT, Attempt, Complete, DataFile, EndReason, Manifest, Marker, RunKeys
from llmlab.watchdog import events
from tests.cli.conftest import put_dataset, put_image
from tests.faults.line import Command, Outcome, apart
from tests.faults.stage import Stage, tags
from tests.faults.ways import Way

BOOTSTRAP = ("bootstrap", "--yes", "--email", "me@example.org", "--github", "me/repo", "--budget", "50")
LAUNCH = ("launch", "--spot", "--max-hours", "6")
TEARDOWN = ("teardown", "--everything", "--confirm", PROJECT)
LINE = b'{"prompt": "2+2?", "completion": "4"}\n'
ADAPTER = {"adapter/adapter_model.safetensors": bytes(range(256)) * 400, "metrics.jsonl": b'{"loss": 1}\n'}


@dataclass(frozen=True)
class Scenario:
    """`law` must hold once the command was run again, whatever broke it the first time."""

    name: str
    prepare: Callable[[Stage], None]
    command: Callable[[Stage], Command]
    law: Callable[[Stage, Outcome, Way], None]
    again: Callable[[Stage, Outcome, Way], None] | None = None
    speaks: bool = True
    """Whether it is a command line, whose error is one sentence and a hint."""


def type_again(scenario: Scenario, stage: Stage, first: Outcome, way: Way) -> None:
    """What a user does after an error: the same line once more, which must do it."""
    stage.do(scenario.command(stage))


# ---------------------------------------------------------------- what is there before


def nothing(_stage: Stage) -> None:
    """An empty account."""


def lab(stage: Stage) -> None:
    stage.do(stage.typed(*BOOTSTRAP))


def dataset(stage: Stage) -> None:
    lab(stage)
    folder = stage.folder / "data"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jsonl").write_bytes(LINE.replace(b"2+2", f"{number}+2".encode()) * (number + 5))


def model(stage: Stage) -> None:
    lab(stage)
    folder = stage.folder / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * (33 << 10))


def ready(stage: Stage) -> None:
    lab(stage)
    put_image(stage.eyes, "latest")
    put_dataset(stage.eyes, "sums")


def running(stage: Stage) -> None:
    ready(stage)
    stage.do(stage.typed(*LAUNCH))
    stage.clock.sleep(1800)


def stopped(stage: Stage) -> None:
    running(stage)
    stage.do(stage.typed("stop", the_run(stage), "--now"))


def finished(stage: Stage) -> None:
    """A run that has left an adapter and logs."""
    running(stage)
    run, bucket = the_run(stage), stage.eyes.names.outputs_bucket
    keys = RunKeys(run)
    files = tuple(DataFile(name, len(body), hashlib.sha256(body).hexdigest()) for name, body in ADAPTER.items())
    for name, body in ADAPTER.items():
        stage.eyes.s3.put_object(Bucket=bucket, Key=keys.output + name, Body=body)
    stage.eyes.s3.put_object(Bucket=bucket, Key=keys.logs + "training.log", Body=b"step 1\n" * 100)
    marker = Marker(run, EndReason.COMPLETED, contract.build_timestamp(stage.clock.now()), 1, files=files)
    stage.eyes.s3.put_object(Bucket=bucket, Key=keys.success, Body=contract.dump(marker).encode())
    stage.eyes.s3.put_object(Bucket=bucket, Key=keys.ended(EndReason.COMPLETED), Body=b"")
    stage.eyes.ec2.terminate_instances(InstanceIds=[one["InstanceId"] for one in stage.instances()])


def checkpointed(stage: Stage) -> None:
    """A run on the watchdog's hands: it has a whole checkpoint."""
    running(stage)
    keys, body = RunKeys(the_run(stage)), b"weights"
    complete = Complete(10, (DataFile("model.bin", len(body), hashlib.sha256(body).hexdigest()),))
    bucket = stage.eyes.names.outputs_bucket
    stage.eyes.s3.put_object(Bucket=bucket, Key=keys.checkpoint(10) + "model.bin", Body=body)
    stage.eyes.s3.put_object(Bucket=bucket, Key=keys.checkpoint(10) + contract.COMPLETE, Body=contract.dump(complete).encode())
    stage.build_watchdog()


def interrupted(stage: Stage) -> None:
    checkpointed(stage)
    end_instance(stage, "Server.SpotInstanceTermination")


def failed(stage: Stage) -> None:
    """The agent has written how the attempt ended, and the instance is gone."""
    checkpointed(stage)
    end = contract.AttemptEnd(the_run(stage), 1, EndReason.TRAINING_ERROR, contract.build_timestamp(stage.clock.now()))
    key = RunKeys(the_run(stage)).attempt_end(1)
    stage.eyes.s3.put_object(Bucket=stage.eyes.names.outputs_bucket, Key=key, Body=contract.dump(end).encode())
    end_instance(stage, "Client.InstanceInitiatedShutdown")


def overdue(stage: Stage) -> None:
    """An instance whose own timer and schedule have both failed. A schedule that went off is gone, whatever came of it."""
    checkpointed(stage)
    for name in stage.schedules():
        if the_run(stage) in name:
            stage.eyes.client("scheduler").delete_schedule(GroupName=stage.eyes.names.schedule_group, Name=name)
    stage.clock.sleep(7 * 3600)


def end_instance(stage: Stage, cause: str) -> None:
    from moto.ec2.models import ec2_backends

    (instance,) = (one["InstanceId"] for one in stage.instances())
    stage.eyes.ec2.terminate_instances(InstanceIds=[instance])
    moto: Any = ec2_backends[stage.eyes.account][stage.eyes.region].get_instance(instance)
    moto.state_reason.code, moto._reason = cause, ""


def the_run(stage: Stage) -> str:
    (run,) = stage.runs()
    return run


# ---------------------------------------------------------------- laws


def whole_lab(stage: Stage, _first: Outcome, _way: Way) -> None:
    """The plan is empty, by the account itself there is one of each."""
    stage.do(stage.typed("bootstrap", "--plan"))
    for kind, filters in (("vpcs", "vpcs"), ("internet_gateways", "internet_gateways")):
        found = getattr(stage.eyes.ec2, f"describe_{kind}")(Filters=[{"Name": "tag:Lab", "Values": [PROJECT]}])
        ((_, listed),) = ((key, value) for key, value in found.items() if isinstance(value, list))
        assert len(listed) == 1, (filters, len(listed))


def whole_upload(prefix: str, folder: str) -> Callable[[Stage, Outcome, Way], None]:
    """The manifest lists what is on disk, and each version that it names holds those bytes."""

    def law(stage: Stage, _first: Outcome, _way: Way) -> None:
        bucket = stage.eyes.names.data_bucket
        manifest: Manifest = stage.read(Manifest, bucket, prefix + contract.MANIFEST)
        disk = {path.name: path.read_bytes() for path in (stage.folder / folder).iterdir()}
        assert {file.path for file in manifest.files} == set(disk)
        for file in manifest.files:
            got = stage.eyes.s3.get_object(Bucket=bucket, Key=prefix + file.path, VersionId=file.version)["Body"].read()
            assert got == disk[file.path], file.path
            assert (file.size, file.sha256) == (len(got), hashlib.sha256(got).hexdigest())
        there = set(stage.keys(bucket, prefix))
        assert there == {prefix + name for name in (*disk, contract.MANIFEST)}

    return law


def one_launch(stage: Stage, first: Outcome, way: Way) -> None:
    """One instance, one schedule, one spec. Only what was killed may have left a run of its own, whole enough for the nets to end it."""
    runs = stage.runs()
    assert len(runs) <= (2 if way.kills else 1), f"{len(runs)} runs are left: {runs}"
    for run in runs:
        owned(stage, run, killed=first.killed)
    stray = {tags(one).get("Run") for one in stage.instances()} - set(runs)
    assert not stray, f"instances have no run: {stray}"
    timers_of_runs = {name for name in stage.schedules() if not name.startswith(PROJECT)}
    assert len(stage.instances()) >= 1
    assert timers_of_runs <= {timers.schedule_name(run, 1) for run in runs} | {timers.wake_name(run) for run in runs}, timers_of_runs
    if first.killed:
        whole = [run for run in runs if run in {tags(one).get("Run") for one in stage.instances()}]
        assert whole
        nets_end_everything(stage)


def owned(stage: Stage, run: str, *, killed: bool = False) -> None:
    """At most one instance; it is tagged, its run has a spec and a claim, and its deadline is scheduled and, unless its launch was
    killed, aimed at it."""
    mine = [one for one in stage.instances() if tags(one).get("Run") == run]
    assert len(mine) <= 1, f"{run} has {len(mine)} instances"
    keys = set(stage.keys(stage.eyes.names.outputs_bucket, RunKeys(run).prefix))
    for instance in mine:
        number = int(tags(instance)["Attempt"])
        assert {"Project", "Lab", "Run", "Attempt", "Deadline"} <= set(tags(instance))
        assert RunKeys(run).spec in keys
        assert RunKeys(run).attempt(number) in keys
        deadline = stage.eyes.client("scheduler").get_schedule(
            GroupName=stage.eyes.names.schedule_group, Name=timers.schedule_name(run, number)
        )
        aimed = instance["InstanceId"] in deadline["Target"]["Input"]
        assert aimed or killed, f"the deadline of {instance['InstanceId']} is not aimed at it"


def nets_end_everything(stage: Stage) -> None:
    """Whatever a killed command has left, the watchdog's sweeps end after the deadline, in a copy of the account."""

    def later() -> None:
        stage.build_watchdog()
        for _ in range(3):
            stage.clock.sleep(3 * 3600)
            stage.do(stage.woken({"sweep": True}))
        assert not stage.instances()

    apart(later)


def one_stop(stage: Stage, _first: Outcome, _way: Way) -> None:
    keys = RunKeys(the_run(stage))
    there = set(stage.keys(stage.eyes.names.outputs_bucket))
    marker: Marker = stage.read(Marker, stage.eyes.names.outputs_bucket, keys.failure)
    assert marker.reason is EndReason.STOPPED_BY_USER
    assert keys.success not in there
    assert [key for key in there if key.startswith(contract.ENDED)] == [keys.ended(EndReason.STOPPED_BY_USER)]
    assert not stage.instances()
    assert not {timers.schedule_name(keys.run, number) for number in (1, 2)} & stage.schedules()


def one_resume(stage: Stage, _first: Outcome, _way: Way) -> None:
    run = the_run(stage)
    keys = RunKeys(run)
    there = set(stage.keys(stage.eyes.names.outputs_bucket))
    assert len(stage.instances()) == 1
    owned(stage, run)
    assert keys.failure not in there
    assert not [key for key in there if key.startswith(contract.ENDED)]
    claims = sorted(
        number for key in there if key.startswith(keys.attempts) for number, kind in [contract.parse_attempt(key)] if kind == "claim"
    )
    assert claims == list(range(1, len(claims) + 1))
    newest: Attempt = stage.read(Attempt, stage.eyes.names.outputs_bucket, keys.attempt(claims[-1]))
    assert newest.instance == stage.instances()[0]["InstanceId"]


def whole_fetch(stage: Stage, _first: Outcome, _way: Way) -> None:
    target = stage.folder / "outputs" / the_run(stage)
    for name, body in ADAPTER.items():
        assert (target / name).read_bytes() == body
    assert (target / "logs" / "training.log").read_bytes() == b"step 1\n" * 100
    assert not list(target.rglob("*.part"))


def nothing_left(stage: Stage, _first: Outcome, _way: Way) -> None:
    """By the account itself; what a teardown keeps is the results alone."""
    kept = [one["Name"] for one in stage.eyes.s3.list_buckets()["Buckets"]]
    assert kept in ([], [stage.eyes.names.outputs_bucket])
    assert not stage.instances()


def lives_on(stage: Stage, _first: Outcome, _way: Way) -> None:
    """The interrupted run has one more attempt with one instance, and people were told."""
    run = the_run(stage)
    owned(stage, run)
    (instance,) = stage.instances()
    bucket, keys = stage.eyes.names.outputs_bucket, RunKeys(run)
    claims = [contract.parse_attempt(key) for key in stage.keys(bucket, keys.attempts)]
    numbers = sorted(number for number, kind in claims if kind == "claim")
    assert numbers == list(range(1, len(numbers) + 1))
    newest: Attempt = stage.read(Attempt, bucket, keys.attempt(numbers[-1]))
    assert newest.instance == instance["InstanceId"]
    named = [stage.read(Attempt, bucket, keys.attempt(number)).instance for number in numbers]
    assert len([one for one in named if one]) == 2, named
    assert timers.wake_name(run) in stage.schedules()


def has_ended(reason: EndReason) -> Callable[[Stage, Outcome, Way], None]:
    def law(stage: Stage, _first: Outcome, _way: Way) -> None:
        run = the_run(stage)
        keys = RunKeys(run)
        assert not stage.instances(), "an instance is left"
        found = stage.read(Marker, stage.eyes.names.outputs_bucket, keys.failure).reason
        assert found is reason, f"it ended as {found}"
        assert keys.ended(reason) in stage.keys(stage.eyes.names.outputs_bucket, contract.ENDED), "it is not listed as over"
        left = {name for name in stage.schedules() if run in name}
        assert not left, f"schedules are left: {left}"

    return law


def secret_is(value: str) -> Callable[[Stage, Outcome, Way], None]:
    def law(stage: Stage, _first: Outcome, _way: Way) -> None:
        client = stage.eyes.client("secretsmanager")
        (found,) = client.list_secrets()["SecretList"]
        assert client.get_secret_value(SecretId=found["ARN"])["SecretString"] == value
        assert {one["Key"] for one in found["Tags"]} >= {"Project", "Lab"}

    return law


# ---------------------------------------------------------------- again


def event_again(stage: Stage, first: Outcome, event: dict[str, Any]) -> None:
    """Lambda tries a failed function twice more, after a minute and after two; a killed one too. Then the hourly sweep."""
    if first.killed or first.result[0].code:
        for seconds in (60, 120):
            stage.clock.sleep(seconds)
            (outcome,) = stage.keeper.run(stage.woken(event))
            assert outcome.result[0].code == 0, outcome.result[0].err
    for _ in range(3):
        stage.clock.sleep(3600)
        stage.do(stage.woken({"sweep": True}))


def its_event(stage: Stage) -> dict[str, Any]:
    found = stage.eyes.ec2.describe_instances()["Reservations"][-1]["Instances"][0]["InstanceId"]
    return {"detail-type": events.STATE_CHANGE, "detail": {"instance-id": found, "state": "terminated"}}


def warning(stage: Stage) -> dict[str, Any]:
    return {**its_event(stage), "detail-type": events.WARNING}


def watchdog(
    name: str, prepare: Callable[[Stage], None], event: Callable[[Stage], dict[str, Any]], law: Callable[[Stage, Outcome, Way], None]
) -> Scenario:
    return Scenario(
        f"watchdog: {name}",
        prepare,
        lambda stage: stage.woken(event(stage)),
        law,
        lambda stage, first, way: event_again(stage, first, event(stage)),
        speaks=False,
    )


def launch_again(stage: Stage, first: Outcome, way: Way) -> None:
    """After an error the same line; nothing is left of the first, or it says how to end what is."""
    if not first.killed and first.result[0].code and "may be left" in first.result[0].err:
        stage.do(stage.typed(*first.result[0].hint.split()[1:], "--now"))
    if first.killed or first.result[0].code:
        stage.do(stage.typed(*LAUNCH))


def resume_again(stage: Stage, first: Outcome, way: Way) -> None:
    """The same line; where an instance may be left, or is, the error names the way: stop, then the same line."""
    if not first.killed and not first.result[0].code:
        return
    line = ("resume", the_run(stage), "--max-hours", "6")
    (second,) = stage.keeper.run(stage.typed(*line))
    result, clock = second.result
    stage.clock.time = clock.time
    if result.code:
        assert "llmlab stop" in result.hint, result.err
        stage.do(stage.typed("stop", the_run(stage), "--now"))
        stage.do(stage.typed(*line))


def stop_again(stage: Stage, _first: Outcome, _way: Way) -> None:
    stage.do(stage.typed("stop", the_run(stage), "--now"))


def with_a_secret(stage: Stage) -> None:
    running(stage)
    stage.do(secret(stage, "hf_old"))


def secret(stage: Stage, value: str) -> Command:
    return stage.typed("secret", "set", "hf-token", stdin=value + "\n")


SCENARIOS = (
    Scenario("bootstrap", nothing, lambda stage: stage.typed(*BOOTSTRAP), whole_lab),
    Scenario("upload", dataset, lambda stage: stage.typed("upload", "data"), whole_upload(contract.dataset_prefix("data"), "data")),
    Scenario(
        "upload --model", model, lambda stage: stage.typed("upload", "model", "--model", "tiny"),
        whole_upload(contract.model_prefix("tiny"), "model"),
    ),
    Scenario("secret set", lab, lambda stage: secret(stage, "hf_new"), secret_is("hf_new")),
    Scenario("secret set, again", with_a_secret, lambda stage: secret(stage, "hf_new"), secret_is("hf_new")),
    Scenario("launch", ready, lambda stage: stage.typed(*LAUNCH), one_launch, launch_again),
    Scenario("stop --now", running, lambda stage: stage.typed("stop", the_run(stage), "--now"), one_stop, stop_again),
    Scenario("resume", stopped, lambda stage: stage.typed("resume", the_run(stage), "--max-hours", "6"), one_resume, resume_again),
    Scenario("fetch", finished, lambda stage: stage.typed("fetch", "latest"), whole_fetch),
    Scenario("teardown", with_a_secret, lambda stage: stage.typed("teardown", "--yes"), nothing_left),
    Scenario("teardown --everything", with_a_secret, lambda stage: stage.typed(*TEARDOWN), nothing_left),
    watchdog("interruption", interrupted, its_event, lives_on),
    watchdog("warning", checkpointed, warning, lambda stage, first, way: owned(stage, the_run(stage))),
    watchdog("sweep", interrupted, lambda _stage: {"sweep": True}, lives_on),
    watchdog("mark", failed, its_event, has_ended(EndReason.TRAINING_ERROR)),
    watchdog("overdue", overdue, lambda _stage: {"sweep": True}, has_ended(EndReason.TIMED_OUT)),
)  # fmt: skip
