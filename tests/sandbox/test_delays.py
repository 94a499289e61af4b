"""What is new is seen late: every command and the watchdog come out as without, on a clock that they share with the account."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmlab import contract
from llmlab.aws.owned import AwsResource, Ec2Resource
from llmlab.aws.session import Aws, AwsError, Denied
from llmlab.clock import ManualClock, SystemClock
from llmlab.contract import PROJECT, Complete, DataFile, EndReason, Marker, RunKeys
from llmlab.lifecycle import instances
from llmlab.ops import run_status, start
from llmlab.sandbox.completion_delays import DELAY, note
from llmlab.sandbox.completion_lambda import RUNTIME
from llmlab.watchdog import events
from tests.account import everything
from tests.cli.conftest import CommandLine, Result, put_dataset, put_image
from tests.cli.test_launch import assert_undone
from tests.faults.stage import build_watchdog
from tests.sampling import sampled

DELAYS = (0, 5, 30)
BOOTSTRAP = ("bootstrap", "--yes", "--email", "me@example.org", "--github", "me/repo", "--budget", "50")
LAUNCH = ("launch", "--yes", "--spot", "--max-hours", "6")
TEARDOWN = ("teardown", "--everything", "--confirm", PROJECT)
LIVE = {"pending", "running", "stopping", "stopped"}

pytestmark = pytest.mark.usefixtures("late")


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    """The commands' and the account's."""
    made = ManualClock(SystemClock().now().replace(microsecond=0))
    before, RUNTIME.clock = RUNTIME.clock, made
    yield made
    RUNTIME.clock, DELAY.seconds = before, 0


@pytest.fixture
def late(lab_aws: Aws, clock: ManualClock, project: Path) -> CommandLine:
    """The command line on an empty account."""
    return CommandLine(aws=lab_aws, clock=clock)


@pytest.fixture
def lab(late: CommandLine, lab_aws: Aws, clock: ManualClock) -> CommandLine:
    """The command line on a lab that has everything a launch needs, for a while."""
    assert late(*BOOTSTRAP).code == 0
    put_image(lab_aws, "latest")
    put_dataset(lab_aws, "sums")
    clock.sleep(600)
    return late


def ended(result: Result) -> Result:
    assert result.code == 0, result.err
    return result


def all_instances(aws: Aws) -> list[Any]:
    """Every instance of the account, however new."""
    before, DELAY.seconds = DELAY.seconds, 0
    try:
        return [one for reservation in aws.ec2.describe_instances()["Reservations"] for one in reservation["Instances"]]
    finally:
        DELAY.seconds = before


def live(aws: Aws) -> list[str]:
    return [one["InstanceId"] for one in all_instances(aws) if one["State"]["Name"] in LIVE]


def the_run(late: CommandLine) -> str:
    (run,) = ended(late("status", "--json")).json["runs"]
    return str(run["run"])


def state(late: CommandLine, run: str) -> str:
    return str(ended(late("status", run, "--json")).json["run"]["state"])


# ---------------------------------------------------------------- the sandbox's own


def refused(call: Any, **asked: Any) -> str:
    with pytest.raises(AwsError) as caught:
        call(**asked)
    return f"{caught.value.code}: {caught.value.message}"


def test_a_new_role_is_refused_in_awss_own_words_until_it_is_seen(lab_aws: Aws, clock: ManualClock) -> None:
    DELAY.seconds = 30
    role = lab_aws.client("iam").create_role(RoleName="new", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    function: Any = {"FunctionName": "f", "Role": role, "Runtime": "python3.12", "Handler": "h.h", "Code": {"ZipFile": b"zip"}}
    target = {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:f", "RoleArn": role}
    schedule: Any = {"Name": "s", "ScheduleExpression": "rate(1 hour)", "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": target}
    make_function, make_schedule = lab_aws.client("lambda").create_function, lab_aws.client("scheduler").create_schedule
    for _ in range(2):
        assert refused(make_function, **function).startswith("InvalidParameterValueException:")
        assert "The role defined for the function cannot be assumed by Lambda" in refused(make_function, **function)
        assert refused(make_schedule, **schedule).startswith("ValidationException:")
        assert "must allow AWS EventBridge Scheduler to assume the role" in refused(make_schedule, **schedule)
        clock.sleep(14.9)
    clock.sleep(0.2)
    make_function(**function)
    make_schedule(**schedule)


def test_a_new_profile_is_refused_until_it_is_seen_and_has_its_role(lab_aws: Aws, clock: ManualClock) -> None:
    DELAY.seconds = 30
    iam = lab_aws.client("iam")
    image = lab_aws.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    asked: Any = {"ImageId": image, "InstanceType": "g6.xlarge", "MinCount": 1, "MaxCount": 1, "IamInstanceProfile": {"Name": "new"}}
    unknown = "Invalid IAM Instance Profile name"
    assert unknown in refused(lab_aws.ec2.run_instances, **asked)
    iam.create_role(RoleName="new", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="new")
    assert unknown in refused(lab_aws.ec2.run_instances, **asked)
    clock.sleep(20)
    iam.add_role_to_instance_profile(InstanceProfileName="new", RoleName="new")
    assert unknown in refused(lab_aws.ec2.run_instances, **asked)
    clock.sleep(20)
    assert "has no associated IAM Roles" in refused(lab_aws.ec2.run_instances, **asked)
    clock.sleep(20)
    lab_aws.ec2.run_instances(**asked)


def test_a_new_instance_is_not_found_until_it_is_shown(lab_aws: Aws, clock: ManualClock) -> None:
    DELAY.seconds = 30
    ec2 = lab_aws.ec2
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    made = ec2.run_instances(ImageId=image, InstanceType="g6.xlarge", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    for call in (ec2.describe_instances, ec2.terminate_instances, ec2.describe_instance_status):
        assert refused(call, InstanceIds=[made]).startswith("InvalidInstanceID.NotFound:")
    assert ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": [made]}])["Reservations"] == []
    assert len(live(lab_aws)) == 1
    clock.sleep(31)
    assert len(ec2.describe_instances()["Reservations"]) == 1
    ec2.terminate_instances(InstanceIds=[made])


def test_new_tags_are_not_found_until_they_are_shown(lab_aws: Aws, clock: ManualClock) -> None:
    ec2, named = lab_aws.ec2, [{"Name": "tag:Name", "Values": ["new"]}]
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    DELAY.seconds = 30
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": "new"}])
    assert ec2.describe_vpcs(Filters=named)["Vpcs"] == []  # type: ignore[arg-type]
    assert ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]
    clock.sleep(31)
    assert ec2.describe_vpcs(Filters=named)["Vpcs"]  # type: ignore[arg-type]


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize("seconds", sampled(DELAYS, 30))
def test_a_lab_is_made_and_taken_away(late: CommandLine, lab_aws: Aws, clock: ManualClock, seconds: float) -> None:
    before, began = everything(lab_aws), clock.now()
    DELAY.seconds = seconds
    ended(late(*BOOTSTRAP))
    assert (clock.now() - began).total_seconds() >= seconds
    assert "nothing to do: all " in ended(late("bootstrap", "--plan")).out
    ended(late(*TEARDOWN))
    assert everything(lab_aws) - {"role AWSServiceRoleForEC2Spot"} == before


@pytest.mark.slow
@pytest.mark.parametrize("seconds", DELAYS)
def test_a_run_of_which_nothing_is_shown_yet(lab: CommandLine, lab_aws: Aws, seconds: float) -> None:
    """It starts, it is not resumed beside itself, and what stops it ends its instance."""
    DELAY.seconds = seconds
    ended(lab(*LAUNCH))
    run = the_run(lab)
    assert state(lab, run) == "starting"
    resumed = lab("resume", "--yes", run)
    assert (resumed.code, resumed.hint) == (4, f"llmlab stop {run}")
    assert len(live(lab_aws)) == 1
    ended(lab("stop", run, "--now"))
    assert live(lab_aws) == []
    assert state(lab, run) == "stopped"
    ended(lab("resume", "--yes", run, "--max-hours", "6"))
    assert len(live(lab_aws)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("seconds", DELAYS)
def test_a_launch_with_a_new_profile(lab: CommandLine, lab_aws: Aws, clock: ManualClock, seconds: float) -> None:
    from moto.iam.models import iam_backends

    names, began = lab_aws.names, clock.now()
    DELAY.seconds = seconds
    note(iam_backends[names.account]["aws"].get_instance_profile(names.instance_role))
    ended(lab(*LAUNCH))
    assert len(all_instances(lab_aws)) == 1
    assert (clock.now() - began).total_seconds() >= seconds


@pytest.mark.slow
@pytest.mark.parametrize("seconds", DELAYS)
def test_a_teardown_right_after_a_launch(lab: CommandLine, lab_aws: Aws, seconds: float) -> None:
    DELAY.seconds = seconds
    ended(lab(*LAUNCH))
    ended(lab(*TEARDOWN))
    assert live(lab_aws) == []
    assert not {one for one in everything(lab_aws) if PROJECT in one}


@pytest.mark.parametrize("seconds", sampled(DELAYS, 30))
@pytest.mark.parametrize("broken", ["ec2:CreateFleet", "scheduler:UpdateSchedule"])
def test_a_launch_that_breaks_off_leaves_no_instance(lab: CommandLine, lab_aws: Aws, broken: str, seconds: float) -> None:
    DELAY.seconds = seconds
    assert_undone(lab, lab_aws, broken, "after-call", KeyboardInterrupt(), 130)
    assert len(all_instances(lab_aws)) == 1
    assert live(lab_aws) == []


@pytest.mark.slow
@pytest.mark.parametrize("seconds", DELAYS)
def test_a_fetch_of_what_has_just_ended(lab: CommandLine, lab_aws: Aws, clock: ManualClock, seconds: float) -> None:
    DELAY.seconds = seconds
    ended(lab(*LAUNCH))
    run, bucket, body = the_run(lab), lab_aws.names.outputs_bucket, b"weights"
    keys = RunKeys(run)
    files = (DataFile("adapter/model.bin", len(body), hashlib.sha256(body).hexdigest()),)
    marker = Marker(run, EndReason.COMPLETED, contract.build_timestamp(clock.now()), 1, files=files)
    lab_aws.s3.put_object(Bucket=bucket, Key=keys.output + files[0].path, Body=body)
    lab_aws.s3.put_object(Bucket=bucket, Key=keys.success, Body=contract.dump(marker).encode())
    assert state(lab, run) == "succeeded"
    ended(lab("fetch", run))
    assert Path("outputs", run, "adapter", "model.bin").read_bytes() == body


# ---------------------------------------------------------------- the watchdog


@pytest.mark.parametrize("seconds", sampled(DELAYS, 30))
def test_the_watchdog_starts_an_interrupted_run_once(lab: CommandLine, lab_aws: Aws, clock: ManualClock, seconds: float) -> None:
    """However often it looks while EC2 does not show what it has started."""
    from moto.ec2.models import ec2_backends

    ended(lab(*LAUNCH))
    run, bucket, body = the_run(lab), lab_aws.names.outputs_bucket, b"weights"
    complete = Complete(10, (DataFile("model.bin", len(body), hashlib.sha256(body).hexdigest()),))
    for name, content in (("model.bin", body), (contract.COMPLETE, contract.dump(complete).encode())):
        lab_aws.s3.put_object(Bucket=bucket, Key=RunKeys(run).checkpoint(10) + name, Body=content)
    clock.sleep(600)
    (first,) = live(lab_aws)
    lab_aws.ec2.terminate_instances(InstanceIds=[first])
    moto: Any = ec2_backends[lab_aws.account][lab_aws.region].get_instance(first)
    moto.state_reason.code, moto._reason = "Server.SpotInstanceTermination", ""
    DELAY.seconds = seconds
    watchdog = build_watchdog(lab_aws.names, clock)
    gone = {"detail-type": events.STATE_CHANGE, "detail": {"instance-id": first, "state": "terminated"}}
    for event in (gone, gone, {"sweep": True}, {"wake": {"run": run}}):
        watchdog.wake(events.parse(event))
        clock.sleep(2)
    assert state(lab, run) == "starting"
    for _ in range(3):
        watchdog.wake(events.parse({"sweep": True}))
        clock.sleep(300)
    (second,) = live(lab_aws)
    assert {one["InstanceId"] for one in all_instances(lab_aws)} == {first, second}
    claim = json.loads(lab_aws.s3.get_object(Bucket=bucket, Key=RunKeys(run).attempt(2))["Body"].read())
    assert claim["instance"] == second
    ended(lab("stop", run, "--now"))
    assert live(lab_aws) == []


# ---------------------------------------------------------------- planted bugs


def test_without_patience_a_lab_is_not_made(lab: CommandLine, lab_aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a lab whose network stands, so that nobody's waiting for that lets the time pass in which the new role is seen."""
    names, iam = lab_aws.names, lab_aws.client("iam")
    lab_aws.client("lambda").delete_function(FunctionName=names.watchdog)
    for policy in iam.list_role_policies(RoleName=names.watchdog_role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=names.watchdog_role, PolicyName=policy)
    iam.delete_role(RoleName=names.watchdog_role)
    monkeypatch.setattr(AwsResource, "persist", lambda _self, call, *_words, **_times: call())
    DELAY.seconds = 30
    result = lab(*BOOTSTRAP)
    assert result.code == 1
    assert "to assume the role" in result.err or "cannot be assumed by Lambda" in result.err


def test_without_waiting_for_what_was_made_a_lab_is_not_made(late: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ec2Resource, "await_shown", lambda _self, _identity: None)
    DELAY.seconds = 30
    result = late(*BOOTSTRAP)
    assert (result.code, result.error) == (1, "there is no VPC llm-tuning-lab-vpc")


@pytest.mark.slow
def test_without_a_look_at_the_claim_a_new_instance_is_missed(lab: CommandLine, lab_aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_status, "VISIBLE_SECONDS", 0)
    DELAY.seconds = 30
    ended(lab(*LAUNCH))
    run = the_run(lab)
    assert state(lab, run) == "interrupted"
    ended(lab("stop", run, "--now"))
    assert len(live(lab_aws)) == 1


@pytest.mark.slow
def test_without_looking_long_enough_a_launch_that_breaks_off_says_what_it_leaves(
    lab: CommandLine, lab_aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**_: object) -> None:
        raise Denied("AWS denied scheduler:UpdateSchedule")

    monkeypatch.setattr(start, "LOOK_SECONDS", 4)
    DELAY.seconds = 30
    scheduler = lab_aws.client("scheduler")
    scheduler.meta.events.register("before-call.scheduler.UpdateSchedule", denied)
    try:
        result = lab(*LAUNCH)
    finally:
        scheduler.meta.events.unregister("before-call.scheduler.UpdateSchedule", denied)
    assert "may be left, which ends at its deadline" in result.error
    assert result.hint.startswith("llmlab stop ")
    assert len(live(lab_aws)) == 1


@pytest.mark.slow
def test_one_that_was_not_known_when_it_was_to_end_is_told_again(lab: CommandLine, lab_aws: Aws, clock: ManualClock) -> None:
    """EC2 does not forget: it may answer from a place that has not heard of it yet."""
    ended(lab(*LAUNCH))
    (instance,) = live(lab_aws)
    DELAY.seconds = 30
    from moto.ec2.models import ec2_backends

    note(ec2_backends[lab_aws.account][lab_aws.region].get_instance(instance))
    instances.terminate(lab_aws.ec2, [instance])
    assert live(lab_aws) == [instance]
    clock.sleep(30)
    assert instances.wait_terminated(lab_aws.ec2, [instance], clock)
    assert live(lab_aws) == []
