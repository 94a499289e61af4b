"""cost: arithmetic of `share`, and the command on an account that answers only half of the questions."""

import itertools
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from llmlab import contract
from llmlab.aws import documents
from llmlab.aws.idle_cost import ResourceCost, StandingCosts
from llmlab.aws.session import Aws
from llmlab.clock import ManualClock
from llmlab.commands.costs import kept_words
from llmlab.contract import Attempt, AttemptEnd, Charge, EndReason, Heartbeat, LogStream, Manifest, Marker, RunKeys, Spec, build_timestamp
from llmlab.errors import ExitCode
from llmlab.lifecycle import billing
from llmlab.ops.attempt_spending import Account, by_attempt
from llmlab.ops.billing_reconciliation import comparable_days, compare
from llmlab.ops.cost import RunCost, _kept as kept_of, share as share_of
from llmlab.sandbox.completion_money import bill
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


CHARGES = (Charge("disk", 0.025, "test"), Charge("address", 0.005, "test"))


def spec() -> Spec:
    return Spec(
        RUN, "llm-tuning-lab", "us-east-1", "1", {}, Manifest("d", (), ""), "i", "ami", "t", (), spot=True, max_hours=6, created="",
        charges=CHARGES,
    )  # fmt: skip


def share(
    run: str, attempts: list[Attempt], ends: dict[int, AttemptEnd], last: Marker | None, since: datetime, now: datetime
) -> RunCost | None:
    return share_of(run, Account((), attempts, ends, last), since, now)


def marker(ended: datetime) -> Marker:
    return Marker(RUN, EndReason.COMPLETED, build_timestamp(ended), 9)


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


def test_an_attempt_that_was_taken_back_in_its_first_hour_costs_its_disk_alone() -> None:
    end = AttemptEnd(RUN, 1, EndReason.SPOT_INTERRUPTED, build_timestamp(START + timedelta(minutes=30)))
    (found,) = by_attempt(Account(CHARGES, [attempt(1, START)], {1: end}), START + timedelta(days=1))
    assert found.free
    assert found.parts == pytest.approx({"instance": 0, "disk": 0.0125, "address": 0.0025})


def test_what_the_agent_summed_is_what_an_attempt_cost() -> None:
    """Its price has changed meanwhile, which the price at launch does not know."""
    costs = {"instance": 0.9, "disk": 0.05, "address": 0.01}
    end = AttemptEnd(RUN, 1, EndReason.COMPLETED, build_timestamp(START + timedelta(hours=2)), hours=2.0, cost=0.96, costs=costs)
    written = Account(CHARGES, [attempt(1, START)], {1: end})
    (found,) = by_attempt(written, START + timedelta(days=1))
    assert (found.hours, found.parts, found.free) == (2.0, costs, False)
    (half,) = by_attempt(written, START + timedelta(days=1), START + timedelta(hours=1))
    assert (half.hours, half.cost) == (1.0, pytest.approx(0.48))


def test_a_living_attempt_cost_what_its_heartbeat_says_and_its_price_since() -> None:
    beat = Heartbeat(RUN, 1, build_timestamp(START + timedelta(hours=1)), "i-1", "training", cost=0.43)
    (found,) = by_attempt(Account(CHARGES, [attempt(1, START)], {}, heartbeat=beat), START + timedelta(hours=2))
    assert found.running
    assert found.parts == pytest.approx({"instance": 0.4 + 0.5, "disk": 0.05, "address": 0.01})


SPANS = st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 3), st.floats(0.05, 2), st.booleans()), min_size=1, max_size=6)


@given(spans=SPANS, cuts=st.lists(st.floats(0, 60), max_size=5))
def test_parts_add_up_over_attempts_and_over_any_cut_of_time(spans: list[tuple[float, float, float, bool]], cuts: list[float]) -> None:
    attempts, ends, moment = [], {}, START
    for number, (hours, pause, price, interrupted) in enumerate(spans, start=1):
        attempts.append(attempt(number, moment, price=price))
        begun = moment = contract.parse_timestamp(attempts[-1].launched)
        moment += timedelta(hours=hours)
        reason = EndReason.SPOT_INTERRUPTED if interrupted else EndReason.INSTANCE_LOST
        costs = billing.attempt_costs(CHARGES, begun, moment, price, interrupted=interrupted)
        ends[number] = AttemptEnd(RUN, number, reason, build_timestamp(moment), hours=hours, cost=billing.total(costs), costs=costs)
        moment += timedelta(hours=pause + 0.01)
    written, now = Account(CHARGES, attempts, ends), START + timedelta(days=30)
    whole = by_attempt(written, now)
    assert len(whole) == len(spans)
    summed = billing.total_parts(one.parts for one in whole)
    assert billing.total(summed) == pytest.approx(sum(end.cost for end in ends.values()))
    assert all(one.free == (spans[one.number - 1][3] and one.hours < 1) for one in whole)
    edges = [START - timedelta(days=1), *(START + timedelta(hours=one) for one in sorted(cuts)), now]
    pieces = [by_attempt(written, now, since, until) for since, until in itertools.pairwise(edges)]
    assert billing.total_parts(one.parts for piece in pieces for one in piece) == pytest.approx(summed)
    assert sum(one.hours for piece in pieces for one in piece) == pytest.approx(sum(one.hours for one in whole))


def test_the_month_with_what_aws_answers(lab: CommandLine, lab_aws: Aws) -> None:
    lab.clock = ManualClock(START + timedelta(hours=4))
    bucket = lab_aws.names.outputs_bucket
    lab_aws.s3.create_bucket(Bucket=bucket)
    keys = RunKeys(RUN)
    documents.write(lab_aws, bucket, keys.spec, spec())
    documents.write(lab_aws, bucket, keys.attempt(1), attempt(1, START))
    documents.write(lab_aws, bucket, keys.success, marker(START + timedelta(hours=2)))
    result = lab("cost", "--json")
    assert result.code == ExitCode.DONE
    assert result.json["month"] == "2026-11"
    assert [(one["run"], one["cost"], one["parts"]) for one in result.json["runs"]] == [
        (RUN, pytest.approx(1.06), {"instance": 1.0, "disk": pytest.approx(0.05), "address": pytest.approx(0.01)})
    ]
    assert [one["number"] for one in result.json["runs"][0]["by_attempt"]] == [1]
    assert result.json["budget"] is None
    assert any(note.startswith("the budget is left out: ") for note in result.json["notes"])
    assert "the forecast is left out: AWS has not seen enough days of this lab yet" in result.json["notes"]
    words = lab("cost", "--no-cost-explorer")
    assert words.code == ExitCode.DONE
    assert f"{RUN}" in words.out
    assert "note: the budget is left out" in words.err


def test_no_lab_is_told(lab: CommandLine) -> None:
    result = lab("cost")
    assert (result.code, result.error) == (ExitCode.FAILED, "there is no lab llm-tuning-lab in us-east-1 yet")
    assert result.hint == "llmlab --region us-east-1 bootstrap"


# ---------------------------------------------------------------- beside Cost Explorer


def test_only_days_that_are_a_day_past_are_compared() -> None:
    first = date(2026, 11, 1)
    assert comparable_days(first, datetime(2026, 11, 2, 23, 59, tzinfo=UTC)) == ()
    assert comparable_days(first, datetime(2026, 11, 3, 0, 0, tzinfo=UTC)) == (first,)
    assert comparable_days(first, datetime(2026, 11, 25, 12, 0, tzinfo=UTC))[-1] == date(2026, 11, 23)


@pytest.fixture
def past(lab: CommandLine, lab_aws: Aws) -> CommandLine:
    """A run of four hours over midnight, 1.00 $ on each day and 0.06 $ for its disk and address, five days ago."""
    bucket, keys, begun = lab_aws.names.outputs_bucket, RunKeys(RUN), datetime(2026, 11, 20, 22, tzinfo=UTC)
    lab_aws.s3.create_bucket(Bucket=bucket)
    documents.write(lab_aws, bucket, keys.spec, spec())
    documents.write(lab_aws, bucket, keys.attempt(1), attempt(1, begun))
    documents.write(lab_aws, bucket, keys.success, marker(begun + timedelta(hours=4)))
    lab.clock = ManualClock(datetime(2026, 11, 25, 12, tzinfo=UTC))
    return lab


def activate(aws: Aws, *tags: str) -> None:
    wanted: Any = [{"TagKey": tag, "Status": "Active"} for tag in tags]
    aws.client("ce", region="us-east-1").update_cost_allocation_tags_status(CostAllocationTagsStatus=wanted)


def test_a_run_is_compared_with_what_was_billed(past: CommandLine, lab_aws: Aws) -> None:
    activate(lab_aws, "Project", "Lab", "Run")
    bill(date(2026, 11, 20), 1.0, RUN)
    bill(date(2026, 11, 21), 1.0, RUN)
    bill(date(2026, 11, 24), 7.0, RUN)  # not compared yet
    found = past("cost", "--json").json["comparison"]
    assert found["tag"] == "Run"
    assert found["runs"] == [
        {"name": RUN, "ours": pytest.approx(2.12), "billed": 2.0, "difference": pytest.approx(0.12), "percent": pytest.approx(6.0)}
    ]
    by_day = {one["name"]: (one["ours"], one["billed"]) for one in found["days"] if one["ours"]}
    assert by_day == {"2026-11-20": (pytest.approx(1.06), 1.0), "2026-11-21": (pytest.approx(1.06), 1.0)}
    words = past("cost").out
    assert "compared with Cost Explorer by the tag Run" in words
    assert re.search(rf"{RUN} +\$2\.12 +\$2\.00 +\+\$0\.12 +\+6\.0", words)


def test_where_runs_are_not_told_apart_days_are_compared(past: CommandLine, lab_aws: Aws) -> None:
    activate(lab_aws, "Project")
    bill(date(2026, 11, 20), 1.06, RUN)
    bill(date(2026, 11, 21), 2.0, RUN)
    result = past("cost")
    assert re.search(r"2026-11-20 +\$1\.06 +\$1\.06 +\$0\.00 +\+0\.0", result.out)
    assert re.search(r"total +\$2\.12 +\$3\.06 +-\$0\.94 +-30\.7", result.out)


def test_a_cost_explorer_that_sees_nothing_is_told(past: CommandLine, lab_aws: Aws) -> None:
    bill(date(2026, 11, 20), 1.0, RUN)
    result = past("cost")
    assert "compared with" not in result.out
    assert "note: Cost Explorer sees none of the $2.12 of 23 days, because the tag Project is not active: aws ce update-" in result.err
    activate(lab_aws, "Project")
    assert "compared with" in past("cost").out


AMOUNTS = st.dictionaries(st.integers(1, 20), st.floats(0, 50), max_size=8)


@given(billed=AMOUNTS, hours=st.lists(st.sampled_from([0.25, 1, 3.5, 4.5, 6]), max_size=4), by_run=st.booleans())
def test_a_comparison_adds_up_whichever_way_it_is_cut(billed: dict[int, float], hours: list[float], by_run: bool) -> None:
    now, days = datetime(2026, 11, 25, tzinfo=UTC), tuple(date(2026, 11, 1) + timedelta(days=index) for index in range(22))
    accounts = {
        f"run {index}": Account(
            CHARGES,
            [attempt(1, MONTH + timedelta(days=3 * index, hours=20))],
            {},
            marker(MONTH + timedelta(days=3 * index, hours=20 + length)),
        )
        for index, length in enumerate(hours)
    }
    theirs = {date(2026, 11, day): {f"run {day % 3}" if by_run else "": dollars} for day, dollars in billed.items()}
    found = compare(accounts, theirs, days, now, by_run=by_run)
    for cut in (found.days, found.runs) if by_run else (found.days,):
        assert sum(one.ours for one in cut) == pytest.approx(found.whole.ours)
        assert sum(one.billed for one in cut) == pytest.approx(found.whole.billed)
    assert found.whole.ours == pytest.approx(sum(length * 0.53 for length in hours))
    assert found.unseen == (found.whole.billed == 0 and bool(hours))


def test_what_is_kept_costs_until_it_is_deleted(ready: CommandLine, lab_aws: Aws) -> None:
    """S3's own measure of its buckets, and CloudWatch's of the lines it took this month."""
    bucket, group = lab_aws.names.outputs_bucket, lab_aws.names.log_group(LogStream.TRAINING)
    lab_aws.s3.put_object(Bucket=bucket, Key="runs/x/output/adapter", Body=bytes(10**7))
    data: Any = {"MetricName": "IncomingBytes", "Dimensions": [{"Name": "LogGroupName", "Value": group}], "Timestamp": ready.clock.now()}
    lab_aws.client("cloudwatch").put_metric_data(Namespace="AWS/Logs", MetricData=[{**data, "Value": 4e9}])
    ready.clock.sleep(60)
    kept = ready("cost", "--no-cost-explorer", "--json").json["kept"]
    assert kept["storage"][bucket] > 0
    assert (kept["log_gb"], kept["logs"]) == (pytest.approx(4), pytest.approx(2))
    out = ready("cost", "--no-cost-explorer").out
    assert "kept: storage about $0.00 a month; log lines of this month 4.00 GB, about $2.00" in out


def test_storage_is_what_buckets_and_log_groups_cost() -> None:
    kinds = {"outputs bucket": 46.0, "data bucket": 2.0, "log group": 0.0, "dashboard": 3.0}
    stands = StandingCosts(tuple(ResourceCost(kind, kind[:4], 0.0, dollars) for kind, dollars in kinds.items()))
    kept = kept_of(stands, 4e9)
    assert kept.storage == {"outp": 46.0, "data": 2.0}
    assert kept_words(kept) == "storage about $48.00 a month (outp $46.00, data $2.00); log lines of this month 4.00 GB, about $2.00"
