"""cost: arithmetic of `share`, and the command on an account that answers only half of the questions."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, strategies as st

from llmlab.aws import documents
from llmlab.aws.session import Aws
from llmlab.clock import ManualClock
from llmlab.contract import Attempt, AttemptEnd, EndReason, Marker, RunKeys, build_timestamp
from llmlab.errors import ExitCode
from llmlab.ops.cost import share
from tests.cli.conftest import CommandLine

RUN = "20261120-100000-abcd"
START = datetime(2026, 11, 20, 10, tzinfo=UTC)
MONTH = datetime(2026, 11, 1, tzinfo=UTC)


def attempt(number: int, launched: datetime, *, price: float = 0.5, hours: float = 6) -> Attempt:
    deadline = int((launched + timedelta(hours=hours)).timestamp())
    at = build_timestamp(launched)
    return Attempt(
        RUN,
        number,
        at,
        deadline,
        True,
        "launch",
        6.0,
        instance="i-1",
        instance_type="g6.xlarge",
        zone="us-east-1a",
        price=price,
        launched=at,
    )


def marker(ended: datetime) -> Marker:
    return Marker(RUN, EndReason.COMPLETED, build_timestamp(ended), 1)


def test_an_attempt_lasts_until_its_end_its_deadline_or_now() -> None:
    now = START + timedelta(hours=20)
    over = share(RUN, [attempt(1, START)], {}, marker(START + timedelta(hours=2)), MONTH, now)
    assert over is not None
    assert (over.hours, over.cost, over.running) == (2.0, 1.0, False)
    forgotten = share(RUN, [attempt(1, START)], {}, None, MONTH, now)
    assert forgotten is not None
    assert (forgotten.hours, forgotten.running) == (6.0, False)
    going = share(RUN, [attempt(1, START)], {}, None, MONTH, START + timedelta(hours=1))
    assert going is not None
    assert (going.hours, going.running) == (1.0, True)


def test_attempts_add_up_and_only_this_months_part_counts() -> None:
    ends = {1: AttemptEnd(RUN, 1, EndReason.SPOT_INTERRUPTED, build_timestamp(START + timedelta(hours=1)))}
    second = attempt(2, START + timedelta(hours=3), price=1.0)
    both = share(RUN, [attempt(1, START), second], ends, marker(START + timedelta(hours=5)), MONTH, START + timedelta(days=2))
    assert both is not None
    assert (both.attempts, both.hours, both.cost) == (2, 3.0, 2.5)
    late = share(
        RUN, [attempt(1, START), second], ends, marker(START + timedelta(hours=5)), START + timedelta(hours=4), START + timedelta(days=2)
    )
    assert late is not None
    assert (late.hours, late.cost) == (1.0, 1.0)
    assert share(RUN, [attempt(1, START)], ends, None, START + timedelta(days=20), START + timedelta(days=21)) is None


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0.01, 50))
def test_no_cost_is_ever_negative_or_above_the_deadline(begun: float, until: float, price: float) -> None:
    now = START + timedelta(hours=begun)
    found = share(RUN, [attempt(1, START, price=price)], {}, marker(START + timedelta(hours=until)), MONTH, now)
    if found:
        assert 0 < found.hours <= 6
        assert 0 < found.cost <= 6 * price + 1e-9


def test_the_month_with_what_aws_answers(lab: CommandLine, lab_aws: Aws) -> None:
    lab.clock = ManualClock(START + timedelta(hours=4))
    bucket = lab_aws.names.outputs_bucket
    lab_aws.s3.create_bucket(Bucket=bucket)
    keys = RunKeys(RUN)
    documents.touch(lab_aws, bucket, keys.spec)
    documents.write(lab_aws, bucket, keys.attempt(1), attempt(1, START))
    documents.write(lab_aws, bucket, keys.success, marker(START + timedelta(hours=2)))
    result = lab("cost", "--json")
    assert result.code == ExitCode.DONE
    assert result.json["month"] == "2026-11"
    assert [(one["run"], one["cost"]) for one in result.json["runs"]] == [(RUN, 1.0)]
    assert result.json["budget"] is None
    assert any(note.startswith("the budget is left out: ") for note in result.json["notes"])
    words = lab("cost", "--no-cost-explorer")
    assert words.code == ExitCode.DONE
    assert f"{RUN}" in words.out
    assert "note: the budget is left out" in words.err


def test_no_lab_is_told(lab: CommandLine) -> None:
    result = lab("cost")
    assert (result.code, result.error) == (ExitCode.FAILED, "there is no lab llm-tuning-lab in us-east-1 yet")
    assert result.hint == "llmlab --region us-east-1 bootstrap"
