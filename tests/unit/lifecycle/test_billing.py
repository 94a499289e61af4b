"""Costs and limits: what a price history adds up to, and when a ceiling is reached."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from llmlab.contract import Charge, PricePoint, build_timestamp
from llmlab.lifecycle import billing

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
DISK = Charge("disk", 0.02, "Pricing API")
ADDRESS = Charge("address", 0.005, "shipped table", approximate=True)


def later(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def point(hours: float, dollars: float) -> PricePoint:
    return PricePoint(build_timestamp(later(hours)), dollars)


def test_each_price_counts_for_as_long_as_it_held() -> None:
    history = [point(2, 0.5), point(-3, 0.9), point(-1, 0.3), point(9, 7.0)]
    assert billing.instance_cost(history, START, later(4), 0.1) == pytest.approx(2 * 0.3 + 2 * 0.5)
    assert billing.instance_cost([], START, later(4), 0.1) == pytest.approx(0.4)
    assert billing.instance_cost([point(1, 0.2)], START, later(4), 0.1) == pytest.approx(0.1 + 3 * 0.2)


def test_an_interrupted_first_hour_is_free_but_its_disk_is_not() -> None:
    assert billing.attempt_costs([DISK, ADDRESS], START, later(0.5), 1.0, interrupted=True) == pytest.approx(
        {"instance": 0.0, "disk": 0.01, "address": 0.0025}
    )
    assert billing.total(billing.attempt_costs([], START, later(1.5), 1.0, interrupted=True)) == 1.5


def test_when_the_money_is_gone() -> None:
    per_hour = billing.hourly([DISK, ADDRESS], 0.975)
    assert per_hour == pytest.approx(1.0)
    assert billing.spent_at(3.0, 1.0, START, per_hour) == pytest.approx(later(2).timestamp())
    assert billing.spent_at(3.0, 4.0, START, per_hour) == START.timestamp()
    assert billing.spent_at(None, 4.0, START, per_hour) is None
    assert billing.price_now([point(-1, 0.3), point(-2, 0.4), point(1, 0.5)], START, 0.1) == 0.3
    assert billing.price_now([point(1, 0.5)], START, 0.1) == 0.1


def test_what_is_left() -> None:
    assert (billing.hours_left(6, 2.5), billing.hours_left(6, 7)) == (3.5, 0)
    assert (billing.cost_left(None, 3), billing.cost_left(2.0, 3)) == (None, 0)
    assert billing.deadline_of(START, 1.5) == START.timestamp() + 5400


HOURS = st.floats(-5, 20).map(lambda hours: round(hours, 2))


@given(
    st.lists(st.tuples(HOURS, st.floats(0.01, 10)), max_size=8, unique_by=lambda one: one[0]),
    st.floats(0, 10),
    st.floats(0, 1),
    st.floats(0.01, 10),
)
def test_a_cost_is_the_sum_over_any_cut_and_lies_between_the_prices(
    prices: list[tuple[float, float]], hours: float, share: float, price: float
) -> None:
    history = [point(at, dollars) for at, dollars in prices]
    whole = billing.instance_cost(history, START, later(hours), price)
    middle = later(hours * share)
    first = billing.instance_cost(history, START, middle, price)
    second = billing.instance_cost(history, middle, later(hours), billing.price_now(history, middle, price))
    assert whole == pytest.approx(first + second, rel=1e-6, abs=1e-6)
    every = [price, *(dollars for _, dollars in prices)]
    assert min(every) * hours - 1e-6 <= whole <= max(every) * hours + 1e-6
