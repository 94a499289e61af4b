"""The sandbox's own AWS as the simulated account: moto, completed, in this process and on the simulated clock.

Ids of instances and subnets are translated, so that a schedule is the same here and in memory.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import botocore.session
from botocore.config import Config

from llmlab.contract import Names, Tag
from llmlab.lifecycle import one_time_schedules
from llmlab.sandbox import catalogue, completion, completion_compute, completion_lambda, market
from tests.simulation.cloud import Schedule
from tests.simulation.compute import CODES, SHOWN_SECONDS, SimulatedInstance
from tests.simulation.scenario import Scenario
from tests.simulation.timeline import Timeline


@functools.cache
def _client(service: str, region: str) -> Any:
    """The client of a service, one a process. It does not retry, because a retry would wait in real time."""
    return botocore.session.Session().create_client(
        service,
        region_name=region,
        aws_access_key_id="AKIASANDBOXSIMULATE",
        aws_secret_access_key="sandbox",
        config=Config(retries={"total_max_attempts": 1}),
    )


@dataclass
class Translation:
    """Two-way translation between the simulator's ids and moto's."""

    to_moto: dict[str, str] = field(default_factory=dict)
    to_ours: dict[str, str] = field(default_factory=dict)

    def add(self, ours: str, motos: str) -> None:
        self.to_moto[ours], self.to_ours[motos] = motos, ours

    def out(self, value: Any) -> Any:
        return _replaced(value, self.to_moto)

    def back(self, value: Any) -> Any:
        return _replaced(value, self.to_ours)


def _replaced(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return {key: _replaced(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, names) for item in value]
    return value


class MotoCloud:
    """A moto account with a lab's bucket, topic, schedule group, launch template and subnets; `close` ends the mock."""

    def __init__(self, timeline: Timeline, scenario: Scenario, names: Names) -> None:
        completion.complete()
        from moto import mock_aws

        self.timeline = timeline
        self.market = scenario.market
        self.names = names
        self.instances: dict[str, SimulatedInstance] = {}
        self.translation = Translation()
        self._before = completion_lambda.RUNTIME.clock
        self._launched: Callable[[SimulatedInstance], None] = lambda _: None
        self._ended: Callable[[str], None] = lambda _: None
        self._mock = mock_aws(config={"core": {"mock_credentials": False, "reset_boto3_session": False}})
        self._mock.start()
        completion_lambda.RUNTIME.clock = timeline
        completion_compute.LAUNCHED.append(self._launch)
        completion_compute.TERMINATE.append(self._terminate)
        catalogue.MARKET.append(self._sold)
        self._set_up(sorted({pool.subnet: pool.zone for pool in scenario.pools}.items()))

    def close(self) -> None:
        completion_compute.LAUNCHED.remove(self._launch)
        completion_compute.TERMINATE.remove(self._terminate)
        catalogue.MARKET.remove(self._sold)
        completion_lambda.RUNTIME.clock = self._before
        self._mock.stop()

    def _set_up(self, subnets: list[tuple[str, str]]) -> None:
        ec2, s3 = self._aws("ec2"), self._aws("s3")
        s3.create_bucket(Bucket=self.names.outputs_bucket)
        s3.put_bucket_versioning(Bucket=self.names.outputs_bucket, VersioningConfiguration={"Status": "Enabled"})
        self._aws("sns").create_topic(Name=self.names.topic)
        self._aws("scheduler").create_schedule_group(Name=self.names.schedule_group)
        vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
        for index, (subnet, zone) in enumerate(subnets):
            identity = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.1.{index}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
            self.translation.add(subnet, identity)
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        ec2.create_launch_template(LaunchTemplateName=self.names.launch_template, LaunchTemplateData={"ImageId": image})

    def _aws(self, service: str) -> Any:
        return _client(service, self.names.region)

    # ------------------------------------------------------------ as `Cloud` has it

    def call(self, service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        if method == "create_fleet":
            self._set_capacity()
        answer = getattr(self._aws(service), method)(**self.translation.out(parameters))
        if method == "describe_instances":
            answer = {
                **answer,
                "Reservations": [
                    reservation for reservation in answer["Reservations"] if self._shown(reservation["Instances"][0]["InstanceId"])
                ],
            }
        return self.translation.back(answer)

    def listen(self, launched: Callable[[SimulatedInstance], None], ended: Callable[[str], None]) -> None:
        self._launched, self._ended = launched, ended

    def turn(self, identity: str, state: str, cause: str = "", words: str = "") -> None:
        from moto.ec2.models.instances import InstanceState, StateReason

        ours, motos = self.instances[identity], self._backend().get_instance(self.translation.to_moto[identity])
        ours.state = state
        if state == "terminated":
            ours.gone = self.timeline.moment
            kept = motos.state_reason, motos._reason
            motos.terminate()
            motos.state_reason, motos._reason = kept
        if cause:
            motos.state_reason, motos._reason = StateReason(cause, cause), words
        motos._state = InstanceState(state, CODES[state])

    def schedules(self) -> dict[str, Schedule]:
        return {
            name: Schedule(
                name,
                one_time_schedules.schedule_moment(schedule.schedule_expression).timestamp(),
                schedule.target["Arn"],
                self._input(schedule.target["Input"]),
            )
            for name, schedule in self._group().schedules.items()
        }

    def drop(self, schedule: str) -> None:
        self._group().schedules.pop(schedule, None)

    def body(self, bucket: str, key: str) -> bytes | None:
        try:
            content: bytes = self._aws("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        except self._aws("s3").exceptions.NoSuchKey:
            return None
        return content

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        pages = self._aws("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def messages(self) -> list[tuple[str, str]]:
        from moto.sns.models import sns_backends

        topics = sns_backends[self.names.account][self.names.region].topics
        return [(subject or "", message) for topic in topics.values() for _, message, subject, *_ in topic.sent_notifications]

    # ------------------------------------------------------------ moto's side

    def _backend(self) -> Any:
        from moto.ec2.models import ec2_backends

        return ec2_backends[self.names.account][self.names.region]

    def _group(self) -> Any:
        from moto.scheduler.models import scheduler_backends

        return scheduler_backends[self.names.account][self.names.region].schedule_groups[self.names.schedule_group]

    def _input(self, text: str) -> str:
        for motos, ours in self.translation.to_ours.items():
            text = text.replace(motos, ours)
        return text

    def _shown(self, motos: str) -> bool:
        instance = self.instances[self.translation.to_ours[motos]]
        return instance.visible <= self.timeline.moment and (instance.gone is None or self.timeline.moment < instance.gone + SHOWN_SECONDS)

    def _launch(self, instance: Any) -> None:
        from moto.ec2.models.instances import InstanceState

        tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
        zone, now = instance._placement.zone, float(int(self.timeline.moment))
        instance.launch_time = datetime.fromtimestamp(now, UTC).replace(tzinfo=None)
        instance._state = InstanceState("pending", CODES["pending"])
        identity = f"i-{len(self.instances) + 1:017x}"
        ours = SimulatedInstance(identity, instance.instance_type, zone, f"subnet-{zone[-1]}", instance.lifecycle == market.SPOT, now, tags)
        assert ours.tags[Tag.RUN]
        self.instances[identity] = ours
        self.translation.add(identity, instance.id)
        self._launched(ours)

    def _terminate(self, backend: Any, identities: list[str]) -> dict[str, Any]:
        for identity in identities:
            backend.get_instance(identity)
        for identity in identities:
            self._ended(self.translation.to_ours[identity])
        return {"TerminatingInstances": []}

    def _set_capacity(self) -> None:
        region, now = self.names.region, self.timeline.moment
        market.allow(region)
        for trace in self.market.traces.values():
            for spot, word in ((True, market.SPOT), (False, market.ON_DEMAND)):
                if not trace.open(now, spot=spot):
                    market.refuse(region, trace.instance_type, trace.zone, word)

    def _sold(self, instance_type: str, zone: str, moment: datetime) -> tuple[datetime, float] | None:
        trace = self.market.traces.get((instance_type, zone))
        if trace is None:
            return None
        since, price = trace.point(moment.timestamp())
        return datetime.fromtimestamp(since, UTC), price
