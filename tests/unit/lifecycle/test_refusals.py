"""What EC2 refuses of a launch: what waiting mends is waited for, what it does not mend ends at once, each in EC2's own words."""

import dataclasses
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from llmlab.aws import fleets, quotas
from llmlab.aws.fleets import NoPoolHadCapacity, SpotInUse
from llmlab.aws.session import AwsError, Denied, translate
from llmlab.clock import ManualClock
from llmlab.contract import EndReason, Pool
from llmlab.errors import LabError, QuotaExceeded
from llmlab.lifecycle import refusals
from llmlab.lifecycle.create_fleet import PoolError
from llmlab.lifecycle.refusals import Refusal
from llmlab.watchdog import events
from tests.simulation.failure import failure
from tests.unit.watchdog.lab import RUN, Lab

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
POOLS = (Pool("g6.xlarge", "us-east-1a", "subnet-a", 0.8, 0.3),)
ROLE = (refusals.SPOT_ROLE, "The provided credentials do not have permission to create the service-linked role for EC2 Spot Instances.")
VERIFYING = ("PendingVerification", "Your request is being validated. Write to aws-verification@amazon.com.")
PARAMETER = ("InvalidParameterValue", "You cannot specify tags for Spot instances requests.")
MAY_NOT = (
    "You are not authorized to perform this operation. User: arn:aws:iam::1:user/x is not authorized to perform: ec2:RunInstances on "
    "resource: r because no identity-based policy allows the ec2:RunInstances action. Encoded authorization failure message: xxxx"
)
DENIAL = ("UnauthorizedOperation", MAY_NOT)
FINAL = [
    DENIAL, PARAMETER, VERIFYING, ("VolumeLimitExceeded", "The maximum has been reached."), ("OptInRequired", "You are not subscribed."),
    ("Blocked", "This account is currently blocked."), ("InvalidParameterCombination", "The type is not eligible for Free Tier."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "message", "refusal"),
    [
        *((code, message, Refusal.DENIED if code == DENIAL[0] else Refusal.OTHER) for code, message in FINAL),
        (*ROLE, Refusal.NOT_YET),
        ("InvalidParameterValue", "Value (x) is invalid. Invalid IAM Instance Profile name", Refusal.NOT_YET),
        ("RequestLimitExceeded", "", Refusal.NOT_YET),
        ("Server.InternalError", "", Refusal.NOT_YET),
        ("MaxFleetCountExceeded", "", Refusal.QUOTA),
        ("MaxSpotInstanceCountExceeded", "", Refusal.QUOTA),
        ("InsufficientInstanceCapacity", "", Refusal.NO_CAPACITY),
    ],
)
def test_a_code_means_one_thing(code: str, message: str, refusal: Refusal) -> None:
    assert refusals.classify(code, message) is refusal
    assert refusal.final is ((code, message) in FINAL)


def test_a_sentence_is_ec2s_own_without_what_only_iam_can_read() -> None:
    assert refusals.sentence(*DENIAL).endswith(
        "because no identity-based policy allows the ec2:RunInstances action (UnauthorizedOperation)"
    )
    assert refusals.sentence("Blocked", "") == "Blocked"
    assert refusals.sentence("", "a\n b.") == "a b"


# ---------------------------------------------------------------- the laptop


class Ec2:
    """CreateFleet that answers these refusals, one after another, and then gives an instance. `raised`: not in a list but as an error."""

    def __init__(self, refused: Sequence[tuple[str, str]], *, raised: bool = False) -> None:
        self.refused, self.raised, self.asked = list(refused), raised, 0

    def create_fleet(self, **_: Any) -> dict[str, Any]:
        self.asked += 1
        if not self.refused:
            return {"Instances": [{"InstanceIds": ["i-1"], "InstanceType": "g6.xlarge"}], "Errors": []}
        code, message = self.refused.pop(0)
        if self.raised:
            raise failure(code, message, "CreateFleet", 400)
        return {"Instances": [], "Errors": [{"ErrorCode": code, "ErrorMessage": message}]}


class Translating(Ec2):
    def create_fleet(self, **asked: Any) -> dict[str, Any]:
        try:
            return super().create_fleet(**asked)
        except Exception as error:
            raise translate(error, "ec2:CreateFleet", "us-east-1") from error


def launch(ec2: Ec2, clock: ManualClock) -> str:
    aws: Any = SimpleNamespace(region="us-east-1", client=lambda *_, **__: ec2)
    return fleets.create(aws, lambda number: {"again": number}, itertools.count(), POOLS, clock).instance


@pytest.mark.parametrize("raised", [False, True])
def test_a_role_that_ec2_does_not_see_yet_is_waited_for_two_minutes_and_no_longer(raised: bool) -> None:
    clock = ManualClock(NOW)
    assert launch(Translating([ROLE] * 3, raised=raised), clock) == "i-1"
    assert (clock.now() - NOW).total_seconds() == 15
    clock = ManualClock(NOW)
    with pytest.raises(AwsError, match="service-linked role"):
        launch(Translating([ROLE] * 1000, raised=raised), clock)
    assert 120 <= (clock.now() - NOW).total_seconds() < 130


@pytest.mark.parametrize("raised", [False, True])
@pytest.mark.parametrize("refused", FINAL)
def test_what_waiting_does_not_mend_is_asked_once_and_keeps_its_words(refused: tuple[str, str], raised: bool) -> None:
    ec2, clock = Translating([refused] * 9, raised=raised), ManualClock(NOW)
    with pytest.raises(LabError) as told:
        launch(ec2, clock)
    assert not isinstance(told.value, NoPoolHadCapacity | QuotaExceeded)
    assert (ec2.asked, clock.now()) == (1, NOW)
    words = "no identity-based policy allows" if refused == DENIAL else refused[1].rstrip(".")
    assert words in told.value.message
    assert isinstance(told.value, Denied) is (refused == DENIAL)
    assert told.value.hint


def test_quotas_that_are_in_use_are_told_by_their_kind() -> None:
    with pytest.raises(SpotInUse, match=r"quota of spot G and VT instances is in use in us-east-1, or what used it has ended minutes ago"):
        launch(Translating([("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")]), ManualClock(NOW))
    with pytest.raises(QuotaExceeded, match="as many fleets as it may") as told:
        launch(Translating([("MaxFleetCountExceeded", "")]), ManualClock(NOW))
    assert "vCPU" not in told.value.message
    with pytest.raises(QuotaExceeded, match="quota of on-demand G and VT instances is used up"):
        launch(Translating([("VcpuLimitExceeded", "x")]), ManualClock(NOW))
    error: Any = fleets.refusal(
        fleets.Answer(None, (PoolError("p5.48xlarge", "z", "MaxSpotInstanceCountExceeded", ""),)), POOLS, "us-east-1"
    )
    assert "spot P5 instances" in error.message


def test_p5_has_a_spot_quota_of_its_own_and_none_on_demand() -> None:
    """https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html."""
    types = {
        "p4d.24xlarge": ("P", "P"), "p5.48xlarge": ("P5", "P"), "p5en.48xlarge": ("P5", "P"),
        "g5.xlarge": ("G", "G"), "gr6.4xlarge": ("G", "G"),
    }  # fmt: skip
    assert {name: (quotas.family(name, spot=True), quotas.family(name, spot=False)) for name in types} == types
    assert [quotas.empty(name, spot=True).code for name in types] == ["L-7212CCBC", "L-C4BD4855", "L-C4BD4855", "L-3819A6DF", "L-3819A6DF"]
    assert {quotas.empty(name, spot=False).code for name in types} == {"L-417A185B", "L-DB2E81BA"}


# ---------------------------------------------------------------- the watchdog


def resume(lab: Lab, *refused: tuple[str, str], raised: bool = False) -> None:
    """An interruption, after which EC2 refuses."""
    event = lab.kill(lab.launch())
    dataclasses.replace(lab.watchdog(), fleet_client=Ec2(refused * 9, raised=raised)).wake(events.parse(event))


@pytest.mark.parametrize("raised", [False, True])
@pytest.mark.parametrize("refused", FINAL)
def test_the_watchdog_ends_a_run_that_nothing_will_start_with_ec2s_words(lab: Lab, refused: tuple[str, str], raised: bool) -> None:
    resume(lab, refused, raised=raised)
    marker = lab.marker()
    assert marker
    assert (marker.reason, marker.attempts) == (EndReason.SETUP_FAILED, 2)
    assert marker.detail == refusals.sentence(*refused)
    assert marker.command(RUN).startswith(("llmlab doctor", "llmlab bootstrap --plan", "aws service-quotas"))


@pytest.mark.parametrize(
    "refused", [ROLE, ("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded"), ("RequestLimitExceeded", "")]
)
def test_the_watchdog_waits_for_what_passes(lab: Lab, refused: tuple[str, str]) -> None:
    resume(lab, refused)
    assert lab.marker() is None
    assert lab.end(2).reason is EndReason.NO_CAPACITY
    assert refusals.sentence(*refused) in lab.end(2).detail


@pytest.mark.parametrize(
    ("code", "words", "command"),
    [
        (
            "Client.InternalError",
            "the disk could not be decrypted: the policy of its key",
            "aws kms create-grant --region us-east-1 --key-id",
        ),
        ("Client.VolumeLimitExceeded", "as many disks", "aws service-quotas list-service-quotas --service-code ebs --region us-east-1"),
    ],
)
def test_an_instance_that_ends_before_it_runs_for_a_reason_that_stays_is_not_tried_again(
    lab: Lab, code: str, words: str, command: str
) -> None:
    lab.wake(lab.kill(lab.launch(), cause=code))
    marker = lab.marker()
    assert marker
    assert (marker.reason, marker.attempts, len(lab.attempts())) == (EndReason.SETUP_FAILED, 1, 1)
    assert words in marker.detail
    assert code in marker.detail
    assert marker.command(RUN).startswith(command)


def test_one_that_aws_lost_is_tried_again_and_keeps_what_ec2_says(lab: Lab) -> None:
    lab.wake(lab.kill(lab.launch(), cause="Server.InternalError"))
    assert len(lab.attempts()) == 2
    assert lab.end(1).reason is EndReason.INSTANCE_LOST
    assert "Server.InternalError" in lab.end(1).detail
