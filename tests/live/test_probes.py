"""Both answers of each probe, from the sandbox, and that a report names nobody."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmlab.aws.session import Aws
from llmlab.clock import ManualClock, SystemClock
from llmlab.sandbox.completion_lambda import RUNTIME
from llmlab.sandbox.refusals.switch import switched
from tests.account import everything
from tests.live.ground import Ground, redacted
from tests.live.probes import PROBES, Probe, answer

ANSWERS = {
    "spot tags on demand": ("InvalidParameterValue: You cannot", "InvalidParameterCombination: You cannot"),
    "image size": ("65 GiB", "35 GiB"),
    "newest types": ("G7: listed, G7e: listed", "G7: not listed, G7e: not listed"),
    "fleet's token": ("the same instances, the same fleet; first 1", "no instances, the same fleet; first 1"),
    "P6 spot": (
        "All P4, P3 and P2 Spot Instance Requests (L-7212CCBC); All P5",
        "All P4, P3 and P2 Spot Instance Requests (L-7212CCBC); All P5",
    ),
    "runtime's boto3": ("which knows", "1.34.145, too old for"),
    "group being deleted": ("made again at once: accepted", "made again at once: ConflictException"),
    "budget without alerts": ("[]", "NotFoundException"),
    "route table": ("accepted", "DependencyViolation"),
    "simulated services": ("scheduler:CreateSchedule: accepted", "scheduler:CreateSchedule: InvalidInput"),
    "instance's ARN": ("its own folder: allowed, another's: implicitDeny", "its own folder: implicitDeny, another's: implicitDeny"),
}


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    manual = ManualClock(SystemClock().now().replace(microsecond=0))
    before, RUNTIME.clock = RUNTIME.clock, manual
    yield manual
    RUNTIME.clock = before


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
@pytest.mark.parametrize("otherwise", [False, True], ids=["as most believe", "otherwise"])
def test_each_answer_is_told_and_nothing_is_left(lab_aws: Aws, clock: ManualClock, tmp_path: Path, probe: Probe, otherwise: bool) -> None:
    before = everything(lab_aws)
    with switched(*(probe.rules if otherwise else ())):
        told = answer(probe, Ground(lab_aws, tmp_path, clock))
    wanted = ANSWERS[probe.name][otherwise]
    assert wanted in told
    assert ("P6" in told) is (otherwise and probe.name == "P6 spot")
    assert everything(lab_aws) - before == set()


def test_every_probe_has_two_answers() -> None:
    assert {probe.name for probe in PROBES} == set(ANSWERS)
    assert len({probe.rules for probe in PROBES}) == len(PROBES) == 11


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("arn:aws:iam::123456789012:role/x", "arn:aws:iam::ACCOUNT:role/x"),
        ("resource sg-0123456789abcdef0 of i-0123456789abcdef0", "resource ID of ID"),
        ("AKIASANDBOX000000000 of me@example.org", "KEY of ADDRESS"),
        ("token=hf_abcdef, g6.xlarge in us-east-1a", "SECRET g6.xlarge in us-east-1a"),
    ],
)
def test_a_report_names_nobody(text: str, shown: str) -> None:
    assert redacted(text) == shown
