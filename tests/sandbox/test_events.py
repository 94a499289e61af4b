"""EventBridge, Scheduler and Lambda: the zip that was uploaded is what runs, on the sandbox's clock."""

import io
import json
import socket
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llmlab.aws.session import Aws, AwsError, NotFound
from llmlab.sandbox.schedules import next_time
from llmlab.sandbox.server import Sandbox
from tests.sandbox.conftest import LIMIT_SECONDS, Launch, describe, until, until_said, until_state

HANDLER = """
import json, os, datetime
import boto3

def handler(event, context):
    print("got", json.dumps(event, sort_keys=True))
    if event.get("fail"):
        raise ValueError("as asked")
    key = event.get("detail", {}).get("state") or event.get("name", "event")
    boto3.client("s3").put_object(Bucket="heard", Key=key, Body=json.dumps(event))
    now = datetime.datetime.now(datetime.timezone.utc).timestamp()
    return {"lab": os.environ["LAB"], "now": now, "left": context.get_remaining_time_in_millis()}
"""


@pytest.fixture
def function(cloud: Aws) -> str:
    """A function that notes what it hears in a bucket; returns its ARN."""
    iam: Any = cloud.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    role = iam.create_role(RoleName="function", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    logs = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:CreateLogGroup", "Resource": "*"}]}
    iam.put_role_policy(RoleName="function", PolicyName="logs", PolicyDocument=json.dumps(logs))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("package/hear.py", HANDLER)
        package.writestr("package/__init__.py", "")
    cloud.s3.create_bucket(Bucket="heard")
    functions: Any = cloud.client("lambda")
    made = functions.create_function(
        FunctionName="hear",
        Runtime="python3.12",
        Role=role,
        Handler="package.hear.handler",
        Code={"ZipFile": archive.getvalue()},
        Timeout=30,
        Environment={"Variables": {"LAB": "mine"}},
    )
    return str(made["FunctionArn"])


def heard(cloud: Aws) -> set[str]:
    return {item["Key"] for item in cloud.s3.list_objects_v2(Bucket="heard").get("Contents", [])}


def logs_of_others() -> str:
    """A policy that writes logs and makes no group."""
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}]})


def test_an_invocation_runs_the_zip_and_logs(cloud: Aws, function: str, sandbox: Sandbox) -> None:
    functions: Any = cloud.client("lambda")
    sandbox.advance(5000)  # the function's clock goes along
    answer = functions.invoke(FunctionName="hear", Payload=json.dumps({"name": "direct"}))
    facts = json.loads(answer["Payload"].read())
    assert facts["lab"] == "mine"
    assert 0 < facts["left"] <= 30_000
    assert abs(facts["now"] - datetime.fromisoformat(sandbox.state()["time"]).timestamp()) < 10
    assert heard(cloud) == {"direct"}
    logs: Any = cloud.client("logs")
    messages = [event["message"] for event in logs.filter_log_events(logGroupName="/aws/lambda/hear")["events"]]
    assert messages[0].startswith("START RequestId")
    assert 'got {"name": "direct"}' in messages
    cloud.client("iam").put_role_policy(RoleName="function", PolicyName="logs", PolicyDocument=logs_of_others())
    logs.delete_log_group(logGroupName="/aws/lambda/hear")
    functions.invoke(FunctionName="hear", Payload=json.dumps({"name": "unheard"}))
    assert logs.describe_log_groups()["logGroups"] == [], "its role may not make it"
    failed = functions.invoke(FunctionName="hear", Payload=json.dumps({"fail": True}))
    assert failed["FunctionError"]
    assert json.loads(failed["Payload"].read())["errorMessage"] == "as asked"


def test_a_name_of_the_internet_leads_a_function_to_this_computer(cloud: Aws, function: str, sandbox: Sandbox) -> None:
    """What a function posts is seen here, and what it connects to is the number that it was told."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("package/hear.py", CALLER)
        package.writestr("package/__init__.py", "")
    functions: Any = cloud.client("lambda")
    functions.update_function_code(FunctionName="hear", ZipFile=archive.getvalue())
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT_SECONDS)
        sandbox.lead({"notices.example.org": ("93.184.215.14", server.getsockname()[1])}, "/its/own.pem")
        facts = json.loads(functions.invoke(FunctionName="hear", Payload=b"{}")["Payload"].read())
        connection, _ = server.accept()
        assert connection.recv(100) == b"heard"
        connection.close()
    assert facts == {"numbers": ["93.184.215.14"], "authority": "/its/own.pem", "here": ["127.0.0.1"]}
    sandbox.lead({}, "")
    assert json.loads(functions.invoke(FunctionName="hear", Payload=b"{}")["Payload"].read()) == {"authority": None, "here": ["127.0.0.1"]}


CALLER = """
import os, socket

def numbers(host):
    return sorted({place[0] for *_, place in socket.getaddrinfo(host, 443, socket.AF_INET, socket.SOCK_STREAM)})

def handler(event, context):
    facts = {"authority": os.environ.get("SSL_CERT_FILE"), "here": numbers("127.0.0.1")}
    if facts["authority"]:
        facts["numbers"] = numbers("notices.example.org")
        with socket.create_connection((facts["numbers"][0], 443), 60) as connection:
            connection.sendall(b"heard")
    return facts
"""


def test_rules_hear_of_instances(cloud: Aws, function: str, launch: Launch, sandbox: Sandbox) -> None:
    events: Any = cloud.client("events")
    pattern = {"source": ["aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"], "detail": {"state": ["terminated"]}}
    events.put_rule(Name="states", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="states", Targets=[{"Id": "1", "Arn": function}])
    events.put_rule(
        Name="spot", EventPattern=json.dumps({"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interruption Warning"]})
    )
    events.put_targets(
        Rule="spot",
        Targets=[
            {
                "Id": "1",
                "Arn": function,
                "InputTransformer": {"InputPathsMap": {"i": "$.detail.instance-id"}, "InputTemplate": '{"name": "warning", "i": <i>}'},
            }
        ],
    )
    instance = launch("echo up; sleep 1000", spot=True)
    until_said(cloud, instance, "up")
    sandbox.interrupt(instance, notice_seconds=1)
    until("both events to be heard", lambda: heard(cloud) == {"warning", "terminated"})
    event = json.loads(cloud.s3.get_object(Bucket="heard", Key="terminated")["Body"].read())
    assert event["detail"] == {"instance-id": instance, "state": "terminated"}
    assert [item["payload"].get("name") for item in sandbox.state()["delivered"]] == ["warning", None]


def test_a_schedule_fires_every_hour(cloud: Aws, function: str, sandbox: Sandbox) -> None:
    schedules: Any = cloud.client("scheduler")
    target = {"Arn": function, "RoleArn": "arn:aws:iam::123456789012:role/scheduler", "Input": json.dumps({"name": "sweep"})}
    schedules.create_schedule(Name="hourly", ScheduleExpression="rate(1 hour)", FlexibleTimeWindow={"Mode": "OFF"}, Target=target)
    sandbox.advance(1800)
    assert sandbox.state()["delivered"] == []
    sandbox.advance(1900)
    until("the sweep to be heard", lambda: heard(cloud) == {"sweep"})
    sandbox.advance(3600)
    until("the second sweep", lambda: len(sandbox.state()["delivered"]) == 2)


def test_a_one_time_schedule_terminates_an_instance_and_itself(cloud: Aws, launch: Launch, sandbox: Sandbox) -> None:
    schedules: Any = cloud.client("scheduler")
    instance = launch("sleep 100000")
    until_state(cloud, instance, "running")
    moment = datetime.fromisoformat(sandbox.state()["time"]) + timedelta(hours=2)
    schedules.create_schedule_group(Name="lab")
    schedules.create_schedule(
        Name="r-1",
        GroupName="lab",
        ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        ActionAfterCompletion="DELETE",
        Target={
            "Arn": "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances",
            "RoleArn": "arn:aws:iam::123456789012:role/scheduler",
            "Input": json.dumps({"InstanceIds": [instance]}),
        },
    )
    sandbox.advance(3600)
    assert describe(cloud, instance)["State"]["Name"] == "running"
    sandbox.advance(3601)
    assert until_state(cloud, instance, "terminated")["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    with pytest.raises(NotFound):
        schedules.get_schedule(Name="r-1", GroupName="lab")


def test_schedules_are_checked(cloud: Aws) -> None:
    schedules: Any = cloud.client("scheduler")
    target = {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:x", "RoleArn": "arn:aws:iam::123456789012:role/scheduler"}
    window = {"Mode": "OFF"}
    with pytest.raises(NotFound):
        schedules.create_schedule(Name="s", GroupName="none", ScheduleExpression="rate(1 hour)", FlexibleTimeWindow=window, Target=target)
    with pytest.raises(AwsError) as caught:
        schedules.create_schedule(Name="s", ScheduleExpression="every hour", FlexibleTimeWindow=window, Target=target)
    assert caught.value.code == "ValidationException"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("at(2026-11-24T10:30:00)", "2026-11-24T10:30:00"),
        ("at(2026-11-24T09:30:00)", None),
        ("rate(1 hour)", "2026-11-24T11:00:00"),
        ("rate(5 minutes)", "2026-11-24T10:05:00"),
        ("cron(0 12 * * ? *)", "2026-11-24T12:00:00"),
        ("cron(0/15 * * * ? *)", "2026-11-24T10:15:00"),
        ("cron(0 9 ? * MON-FRI *)", "2026-11-25T09:00:00"),
        ("cron(0 9 ? * 1 *)", "2026-11-29T09:00:00"),
        ("cron(0 0 1 JAN ? *)", "2027-01-01T00:00:00"),
        ("cron(0 0 L * ? *)", "2026-11-30T00:00:00"),
    ],
)
def test_when_a_schedule_is_next(expression: str, expected: str | None) -> None:
    tuesday = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
    found = next_time(expression, tuesday)
    assert (found and found.strftime("%Y-%m-%dT%H:%M:%S")) == expected
