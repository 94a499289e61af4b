"""What is there before a command is broken: an account, a lab, data, a run, and what became of it."""

import hashlib
from datetime import timedelta
from typing import Any

from llmlab import contract
from llmlab.contract import PROJECT, AttemptEnd, Complete, DataFile, EndReason, Marker, RunKeys
from tests.cli.conftest import put_dataset, put_image
from tests.faults.keeper import Command
from tests.faults.line import Call
from tests.faults.stage import Stage

BOOTSTRAP = ("bootstrap", "--yes", "--email", "me@example.org", "--github", "me/repo", "--budget", "50")
LAUNCH = ("launch", "--yes", "--spot", "--max-hours", "6")
TEARDOWN = ("teardown", "--everything", "--confirm", PROJECT)
OVERDUE_SECONDS = 7 * 3600
DOCKER_WORDS = "docker-words"
"""The file in the stage's folder that the stand-in for docker fills."""
LINE = b'{"prompt": "2+2?", "completion": "4"}\n'
ADAPTER = {"adapter/adapter_model.safetensors": bytes(range(256)) * 400, "metrics.jsonl": b'{"loss": 1}\n'}


def nothing(_stage: Stage) -> None:
    """An empty account."""


def lab(stage: Stage) -> None:
    """A lab, unless the account was given one when this process began (`tests.faults.sample`)."""
    if not stage.eyes.s3.list_buckets()["Buckets"]:
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


def with_an_agent(stage: Stage) -> None:
    """A run whose agent does what it is asked: once the request is there, it says its last word and powers its machine off."""
    running(stage)
    keys, bucket = RunKeys(the_run(stage)), stage.eyes.names.outputs_bucket

    def hear(call: Call) -> None:
        if call.operation != "PutObject" or not call.url.endswith(keys.stop):
            return
        ended = contract.build_timestamp(stage.clock.now())
        end = AttemptEnd(keys.run, 1, EndReason.STOPPED_BY_USER, ended, step=7)
        marker = Marker(keys.run, EndReason.STOPPED_BY_USER, ended, 1, step=7)
        for key, document in ((keys.attempt_end(1), end), (keys.failure, marker)):
            stage.eyes.s3.put_object(Bucket=bucket, Key=key, Body=contract.dump(document).encode())
        stage.eyes.s3.put_object(Bucket=bucket, Key=keys.ended(EndReason.STOPPED_BY_USER), Body=b"")
        for one in stage.instances():
            stage.eyes.ec2.terminate_instances(InstanceIds=[one["InstanceId"]])

    stage.keeper.heard = hear


def with_docker(stage: Stage) -> None:
    """A lab, and a program that stands for docker: it writes down what it is told, and does it all."""
    lab(stage)
    docker = stage.folder / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\necho "$1 $2" >> {DOCKER_WORDS}\n')
    docker.chmod(0o755)


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
    stage.clock.sleep(OVERDUE_SECONDS)
    turn_on_the_clock_of_ec2(OVERDUE_SECONDS)


def turn_on_the_clock_of_ec2(seconds: float) -> None:
    """In this process's account: by it EC2 tells when an instance was terminated, whose word counts before the clock of who asks."""
    from moto.ec2.models import instances

    now = instances.utcnow
    instances.utcnow = lambda: now() + timedelta(seconds=seconds)


def end_instance(stage: Stage, cause: str) -> None:
    from moto.ec2.models import ec2_backends

    (instance,) = (one["InstanceId"] for one in stage.instances())
    stage.eyes.ec2.terminate_instances(InstanceIds=[instance])
    moto: Any = ec2_backends[stage.eyes.account][stage.eyes.region].get_instance(instance)
    moto.state_reason.code, moto._reason = cause, ""


def the_run(stage: Stage) -> str:
    (run,) = stage.runs()
    return run


def with_a_secret(stage: Stage) -> None:
    running(stage)
    stage.do(secret(stage, "hf_old"))


def secret(stage: Stage, value: str) -> Command:
    return stage.typed("secret", "set", "hf-token", stdin=value + "\n")
