"""The watchdog at work on an account in this process: events in, instances, documents, messages and numbers out."""

import dataclasses
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import botocore
import pytest

from llmlab import contract, fleet, money
from llmlab.aws.session import Aws
from llmlab.clock import ManualClock, SystemClock
from llmlab.contract import Attempt, AttemptEnd, EndReason, Manifest, Marker, Pool, RunKeys, Spec
from llmlab.watchdog import events, package
from llmlab.watchdog.act import Watchdog
from llmlab.watchdog.decide import Mark
from llmlab.watchdog.records import Bucket

RUN = "20261123-120000-ab12"
KEYS = RunKeys(RUN)


@dataclasses.dataclass
class Lab:
    """A lab with one run on one spot instance, and the watchdog on a clock that stands still."""

    aws: Aws
    clock: ManualClock
    pools: tuple[Pool, ...]
    logged: list[tuple[str, dict[str, Any]]] = dataclasses.field(default_factory=list)

    @property
    def watchdog(self) -> Watchdog:
        aws, names = self.aws, self.aws.names
        return Watchdog(
            names=names,
            bucket=Bucket(aws.s3, names.outputs_bucket),
            ec2=aws.ec2,
            fleet_client=aws.client("ec2", attempts=1),
            scheduler=aws.client("scheduler"),
            sns=aws.client("sns"),
            cloudwatch=aws.client("cloudwatch"),
            topic=names.arn("sns", names.topic),
            scheduler_role=f"arn:aws:iam::{names.account}:role/{names.scheduler_role}",
            max_hours=6,
            clock=self.clock,
            log=lambda decision, **facts: self.logged.append((decision, facts)),
        )

    def wake(self, event: dict[str, Any]) -> list[str]:
        """The decisions that an event led to."""
        before = len(self.logged)
        self.watchdog.wake(events.parse(event))
        return [decision for decision, _ in self.logged[before:]]

    def write(self, key: str, document: Any) -> None:
        self.aws.s3.put_object(Bucket=self.aws.names.outputs_bucket, Key=key, Body=contract.dump(document).encode())

    def read(self, kind: type[Any], key: str) -> Any:
        return Bucket(self.aws.s3, self.aws.names.outputs_bucket).load(kind, key)

    def launch(self, number: int = 1, **changes: Any) -> Attempt:
        """An attempt as `launch` leaves it: claimed, scheduled, running."""
        now = self.clock.now()
        claim = Attempt(RUN, number, contract.build_timestamp(now), money.deadline_of(now, 6), spot=True, by="launch", max_hours=6)
        claim = dataclasses.replace(claim, **changes)
        request = fleet.create_fleet_request(
            self.aws.names, self.aws.names.launch_template, self.pools, run=RUN, attempt=number, deadline=claim.deadline, spot=True
        )
        got = fleet.read_create_fleet(self.aws.ec2.create_fleet(**request), self.pools).launched
        assert got is not None
        claim = dataclasses.replace(
            claim, instance=got.instance, instance_type=got.instance_type, zone=got.zone, price=0.3, launched=contract.build_timestamp(now)
        )
        self.write(KEYS.attempt(number), claim)
        return claim

    def kill(self, attempt: Attempt, cause: str) -> None:
        """The instance is gone, and EC2 says why."""
        from moto.ec2.models import ec2_backends

        if attempt.instance in {one["InstanceId"] for one in self.live()}:
            self.aws.ec2.terminate_instances(InstanceIds=[attempt.instance])
        instance: Any = ec2_backends[self.aws.account][self.aws.region].get_instance(attempt.instance)
        instance.state_reason.code = cause
        instance._reason = ""  # moto's clock is the real one, so its time of the end says nothing here

    def live(self) -> list[Any]:
        pages = self.aws.ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}])
        return [instance for reservation in pages["Reservations"] for instance in reservation["Instances"]]


def gone(attempt: Attempt, state: str = "terminated") -> dict[str, Any]:
    return {"detail-type": events.STATE_CHANGE, "detail": {"instance-id": attempt.instance, "state": state}}


@pytest.fixture
def lab(lab_aws: Aws) -> Lab:
    names, ec2 = lab_aws.names, lab_aws.ec2
    lab_aws.s3.create_bucket(Bucket=names.outputs_bucket)
    lab_aws.s3.put_bucket_versioning(Bucket=names.outputs_bucket, VersioningConfiguration={"Status": "Enabled"})
    lab_aws.client("sns").create_topic(Name=names.topic)
    lab_aws.client("scheduler").create_schedule_group(Name=names.schedule_group)
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.1.{index}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for index, zone in enumerate(("us-east-1a", "us-east-1b"))
    ]
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    ec2.create_launch_template(LaunchTemplateName=names.launch_template, LaunchTemplateData={"ImageId": image})
    pools = tuple(Pool("g6.xlarge", f"us-east-1{letter}", subnet, 0.8, 0.3) for letter, subnet in zip("ab", subnets, strict=True))
    made = Lab(lab_aws, ManualClock(SystemClock().now().replace(microsecond=0)), pools)
    spec = Spec(
        run=RUN, lab=names.lab, region=names.region, account=names.account, recipe={}, data=Manifest("d", (), ""), image="i", ami=image,
        launch_template=names.launch_template, pools=pools, spot=True, max_hours=6, created=contract.build_timestamp(made.clock.now()),
    )  # fmt: skip
    made.write(KEYS.spec, spec)
    return made


def test_an_interruption_becomes_one_new_attempt_however_often_it_is_told(lab: Lab) -> None:
    first = lab.launch()
    lab.clock.sleep(1800)
    lab.kill(first, "Server.SpotInstanceTermination")
    assert lab.wake(gone(first, "shutting-down")) == ["resumed"]
    assert lab.wake(gone(first)) == ["wait"]
    assert lab.wake(gone(first)) == ["wait"]
    (instance,) = lab.live()
    second = lab.read(Attempt, KEYS.attempt(2))
    assert (second.instance, second.by, second.hours_before) == (instance["InstanceId"], "watchdog", pytest.approx(0.5, abs=0.01))
    assert second.price == 0.3
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert (tags["Attempt"], tags["Deadline"]) == ("2", str(second.deadline))
    assert lab.read(AttemptEnd, KEYS.attempt_end(1)).reason is EndReason.SPOT_INTERRUPTED
    schedule = lab.aws.client("scheduler").get_schedule(GroupName=lab.aws.names.schedule_group, Name=fleet.schedule_name(RUN, 2))
    assert schedule["Target"]["Arn"] == fleet.TERMINATE
    assert json.loads(schedule["Target"]["Input"]) == {"InstanceIds": [second.instance]}


def test_two_watchdogs_at_once_start_one_instance(lab: Lab) -> None:
    """The one that comes second to the claim finds it taken, also when it had decided before."""
    first = lab.launch()
    lab.kill(first, "Server.SpotInstanceTermination")
    ours, now = lab.watchdog, lab.clock.now()
    records = ours.bucket.records(RUN)
    assert records is not None
    from llmlab.watchdog import machines
    from llmlab.watchdog.decide import Resume, decide

    decision = decide(records, machines.find(ours.ec2, ours.names, run=RUN), 0, now)
    assert isinstance(decision, Resume)
    ours.resume(records, decision)
    ours.resume(records, decision)
    assert [name for name, _ in lab.logged] == ["resumed", "wait"]
    assert len(lab.live()) == 1


def test_a_warning_changes_nothing(lab: Lab) -> None:
    first = lab.launch()
    before = len(lab.live())
    assert lab.wake({"detail-type": events.WARNING, "detail": {"instance-id": first.instance}}) == ["warned"]
    assert len(lab.live()) == before == 1


def test_strangers_are_not_ours(lab: Lab) -> None:
    image = lab.aws.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    stranger = lab.aws.ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="g6.xlarge")["Instances"][0]["InstanceId"]
    assert lab.wake({"detail-type": events.STATE_CHANGE, "detail": {"instance-id": stranger, "state": "terminated"}}) == []
    lab.clock.sleep(100 * 3600)
    assert lab.wake({"sweep": True}) == ["ignored", "swept"]  # our run has no attempt yet
    assert [instance["InstanceId"] for instance in lab.live()] == [stranger]
    assert lab.wake({"something": "else"}) == ["ignored"]


def test_the_deadline_event_ends_the_attempts_instance_and_no_other(lab: Lab) -> None:
    first, second = lab.launch(1), lab.launch(2)
    assert lab.wake(fleet.deadline_event(RUN, 1)) == ["terminated"]
    assert [instance["InstanceId"] for instance in lab.live()] == [second.instance]
    assert first.instance != second.instance


def test_the_sweep_ends_what_is_past_its_deadline_also_without_a_tag(lab: Lab) -> None:
    attempt = lab.launch()
    image = lab.aws.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    tags: list[Any] = [{"Key": key, "Value": value} for key, value in lab.aws.names.tags.items()]
    lab.aws.ec2.run_instances(
        ImageId=image, MinCount=1, MaxCount=1, InstanceType="g6.xlarge", TagSpecifications=[{"ResourceType": "instance", "Tags": tags}]
    )
    lab.clock.sleep(6 * 3600 - 120)
    assert lab.wake({"sweep": True}) == ["scheduled", "scheduled", "wait", "swept"]
    lab.clock.sleep(240)
    assert lab.wake({"sweep": True})[:2] == ["terminated", "terminated"]
    assert lab.live() == []
    lab.kill(attempt, "Client.UserInitiatedShutdown")
    lab.wake(gone(attempt))
    marker = lab.read(Marker, KEYS.failure)
    assert marker.reason is EndReason.TIMED_OUT
    assert lab.aws.s3.head_object(Bucket=lab.aws.names.outputs_bucket, Key=KEYS.ended(EndReason.TIMED_OUT))


def test_the_sweep_mends_a_missing_schedule(lab: Lab) -> None:
    attempt = lab.launch()
    assert lab.wake({"sweep": True}) == ["scheduled", "wait", "swept"]
    assert lab.wake({"sweep": True}) == ["wait", "swept"]
    schedule = lab.aws.client("scheduler").get_schedule(GroupName=lab.aws.names.schedule_group, Name=fleet.schedule_name(RUN, 1))
    assert json.loads(schedule["Target"]["Input"]) == {"InstanceIds": [attempt.instance]}


def test_a_finished_machine_that_does_not_switch_off_is_ended(lab: Lab) -> None:
    lab.launch()
    ended = contract.build_timestamp(lab.clock.now())
    lab.write(KEYS.attempt_end(1), AttemptEnd(RUN, 1, EndReason.COMPLETED, ended))
    lab.write(KEYS.success, Marker(RUN, EndReason.COMPLETED, ended, 1))
    assert "terminated" not in lab.wake({"sweep": True})
    lab.clock.sleep(1000)
    assert "terminated" in lab.wake({"sweep": True})


def test_the_cost_limit_holds_when_the_agent_does_not(lab: Lab) -> None:
    attempt = lab.launch(max_cost=1.0)
    lab.clock.sleep(3.5 * 3600)
    assert "terminated" not in lab.wake({"sweep": True})
    lab.clock.sleep(0.5 * 3600)
    assert "terminated" in lab.wake({"sweep": True})
    lab.kill(attempt, "Client.UserInitiatedShutdown")
    lab.wake(gone(attempt))
    assert lab.read(Marker, KEYS.failure).reason is EndReason.COST_REACHED


def test_the_end_is_told_once(lab: Lab, recorder: list[str]) -> None:
    attempt = lab.launch()
    ended = contract.build_timestamp(lab.clock.now())
    lab.write(KEYS.failure, Marker(RUN, EndReason.TRAINING_ERROR, ended, 1, "loss is not a number"))
    lab.kill(attempt, "Client.InstanceInitiatedShutdown")
    for event in (gone(attempt, "shutting-down"), gone(attempt), {"sweep": True}):
        lab.wake(event)
    assert recorder.count("sns:Publish") == 1
    metrics = lab.aws.client("cloudwatch").list_metrics(Namespace=lab.aws.names.metrics)["Metrics"]
    assert {metric["MetricName"] for metric in metrics} == {"FailedRuns", "ActiveInstances", "RunAgeMinutes"}


def test_no_capacity_leaves_the_run_waiting_and_the_next_sweep_tries_again(lab: Lab) -> None:
    first = lab.launch()
    lab.kill(first, "Server.SpotInstanceTermination")
    spec = lab.read(Spec, KEYS.spec)
    nowhere = tuple(dataclasses.replace(pool, instance_type="g7e.48xlarge") for pool in spec.pools)
    lab.write(KEYS.spec, dataclasses.replace(spec, pools=nowhere, launch_template="no-such-template"))
    assert lab.wake(gone(first)) == ["no instance"]
    assert lab.read(AttemptEnd, KEYS.attempt_end(2)).reason is EndReason.NO_CAPACITY
    assert lab.aws.client("scheduler").list_schedules(GroupName=lab.aws.names.schedule_group)["Schedules"] == []
    assert lab.wake(gone(first)) == ["wait"]
    lab.write(KEYS.spec, spec)
    lab.clock.sleep(3600)
    assert lab.wake({"sweep": True}) == ["resumed", "swept"]
    assert lab.read(Attempt, KEYS.attempt(3)).instance == lab.live()[0]["InstanceId"]


def test_a_marker_of_an_attempt_before_a_resume_is_replaced(lab: Lab) -> None:
    lab.launch(1)
    second = lab.launch(2)
    lab.write(KEYS.failure, Marker(RUN, EndReason.STOPPED_BY_USER, contract.build_timestamp(lab.clock.now()), 1))
    for attempt in (lab.read(Attempt, KEYS.attempt(1)), second):
        lab.kill(attempt, "Client.UserInitiatedShutdown")
    assert lab.wake(gone(second)) == ["marked", "told"]
    assert lab.read(Marker, KEYS.failure).attempts == 2


def test_a_run_that_is_resumed_while_the_watchdog_judges_it_is_not_marked(lab: Lab) -> None:
    first = lab.launch(1)
    lab.kill(first, "Client.UserInitiatedShutdown")
    records = lab.watchdog.bucket.records(RUN)
    assert records
    end = AttemptEnd(RUN, 1, EndReason.STOPPED_BY_USER, contract.build_timestamp(lab.clock.now()))
    lab.write(KEYS.attempt(2), dataclasses.replace(first, number=2, by="resume", instance=""))
    lab.watchdog.mark(records, Mark(end, end.reason, ""))
    assert lab.read(Marker, KEYS.failure) is None


# ---------------------------------------------------------------- the zip


WATCHDOG = (
    "__init__", "act", "alarm", "capacity", "ceilings", "decide", "ending", "events", "handler", "machines", "prices", "records",
    "schedules", "sight", "starting", "telling", "tools",
)  # fmt: skip


def test_the_zip_has_the_same_bytes_each_time_and_only_what_it_needs() -> None:
    import io
    import zipfile

    assert package.build() == package.build()
    names = zipfile.ZipFile(io.BytesIO(package.build())).namelist()
    assert names == [
        "llmlab/__init__.py", "llmlab/clock.py", "llmlab/contract.py", "llmlab/fleet.py", "llmlab/money.py",
        *sorted(f"llmlab/watchdog/{name}.py" for name in WATCHDOG),
    ]  # fmt: skip


PROGRAM = """
import sys, json
sys.path[:0] = sys.argv[1:3]
import llmlab, os
assert ".zip" in llmlab.__file__, llmlab.__file__
from llmlab.watchdog import handler
os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
watchdog = handler.build({"LLMLAB_LAB": "lab", "LLMLAB_OUTPUTS_BUCKET": "b",
    "LLMLAB_TOPIC": "arn:aws:sns:us-east-1:123456789012:lab-alerts",
    "LLMLAB_SCHEDULER_ROLE": "r", "LLMLAB_MAX_HOURS": "6"}, handler.SystemClock())
from llmlab.watchdog.events import parse
watchdog.wake(parse({"nothing": 1}))
print(sorted(name for name in sys.modules if name.startswith("llmlab.")))
"""


def interpreters() -> list[str]:
    """This Python, and a 3.12, which Lambda runs, where there is one."""
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.12*/bin/python")) or sorted(Path("/root/.pyenv/versions").glob("3.12*/bin/python"))
    return [sys.executable, *(str(path) for path in pyenv[:1])]


@pytest.mark.parametrize("python", interpreters())
def test_the_zip_works_in_a_clean_interpreter(python: str, tmp_path: Path) -> None:
    """Costs a second: a fresh process that imports boto3 is the point."""
    archive = tmp_path / "watchdog.zip"
    archive.write_bytes(package.build())
    site = tmp_path / "site"
    site.mkdir()
    packages = Path(boto3.__file__).parents[1]
    for name in ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3"):
        (site / name).symlink_to(packages / name)
    done = subprocess.run([python, "-I", "-c", PROGRAM, str(archive), str(site)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    line, modules = done.stdout.splitlines()
    assert json.loads(line)["decision"] == "ignored"
    assert "llmlab.watchdog.act" in modules
    assert "llmlab.errors" not in modules
    assert botocore.__version__


def test_the_age_of_the_oldest_instance_is_measured(lab: Lab) -> None:
    lab.launch()
    lab.clock.sleep(90 * 60)
    lab.wake({"sweep": True})
    cloudwatch = lab.aws.client("cloudwatch")
    now = lab.clock.now()
    points = cloudwatch.get_metric_statistics(
        Namespace=lab.aws.names.metrics, MetricName="RunAgeMinutes", StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1),
        Period=60, Statistics=["Maximum"],
    )["Datapoints"]  # fmt: skip
    assert [round(point["Maximum"]) for point in points] == [90]
