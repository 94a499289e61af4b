"""The simulated market: what an instance costs is the same in one piece and in many, and a pool is open or closed as its list says."""

from hypothesis import given, strategies as st

from tests.simulation import traces
from tests.simulation.dice import SeededRandom
from tests.simulation.scenario import BEGIN, TYPES, ZONES

START = BEGIN.timestamp()
MOMENTS = st.floats(START, START + 48 * 3600)
LISTED = [
    {"type": "g5.xlarge", "zone": "us-east-1a", "on_demand": 1.0, "prices": [[-1, 0.4], [2, 0.6], [3, 0.2]], "closed": [[1, 1.5]]},
]


@given(st.integers(0, 1000), MOMENTS, MOMENTS, MOMENTS)
def test_pieces_add_up(seed: int, first: float, second: float, third: float) -> None:
    begin, middle, end = sorted((first, second, third))
    market = traces.made(SeededRandom(seed), [(TYPES[0], ZONES[0])], START, 48)
    (trace,) = market.traces.values()
    whole = trace.dollars(begin, end, spot=True)
    assert abs(trace.dollars(begin, middle, spot=True) + trace.dollars(middle, end, spot=True) - whole) < 1e-9
    highest = max(price for _, price in trace.prices)
    assert 0 <= whole <= highest * (end - begin) / 3600 + 1e-9
    assert highest <= trace.on_demand


def test_a_market_from_a_list_does_as_it_says() -> None:
    trace = traces.from_list(LISTED, START).trace("g5.xlarge", "us-east-1a")
    hour = 3600
    assert [trace.price(START + moment * hour, spot=True) for moment in (0, 1.99, 2, 2.5, 3, 40)] == [0.4, 0.4, 0.6, 0.6, 0.2, 0.2]
    assert [trace.open(START + moment * hour, spot=True) for moment in (0.99, 1, 1.49, 1.5)] == [True, False, False, True]
    assert trace.open(START + hour, spot=False)
    assert trace.closes(START) == START + hour
    assert trace.closes(START + hour) is None
    assert abs(trace.dollars(START, START + 4 * hour, spot=True) - (2 * 0.4 + 0.6 + 0.2)) < 1e-9


def test_closed_times_are_apart_and_in_order() -> None:
    seen = 0
    for seed in range(50):
        (trace,) = traces.made(SeededRandom(seed), [(TYPES[0], ZONES[0])], START, 120).traces.values()
        for (begin, end), (following, _) in zip(trace.closed, trace.closed[1:], strict=False):
            assert begin < end <= following
            seen += 1
    assert seen > 200
