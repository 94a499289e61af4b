"""A line chart as the numbers an SVG needs: ticks at round values, one point a pixel at most."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640.0, 200.0
"""Size of the plotting area, in SVG units."""
LEAST_SPAN = 1e-300
"""Least span of an axis: a fifth of a smaller one has no logarithm any more, and no measurement is that fine."""
MOST_POINTS = 640


@dataclass(frozen=True)
class Tick:
    """A labelled position along an axis, in SVG units."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A line chart to draw. `points` is an SVG polyline's list; `first` and `last` are the oldest and the newest value as text."""

    title: str
    unit: str
    across: str
    points: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    first: str
    last: str
    width: float = WIDTH
    height: float = HEIGHT


def line(title: str, values: Sequence[tuple[float, float]], *, unit: str = "", across: str = "step") -> Chart | None:
    """The chart of (x, y) pairs in order of x; None when there are fewer than two finite ones."""
    finite = [(x, y) for x, y in values if math.isfinite(x) and math.isfinite(y)]
    if len(finite) < 2:
        return None
    thin = thinned(finite)
    x_ticks, y_ticks = ticks([x for x, _ in finite]), ticks([y for _, y in finite])
    left, right = finite[0][0], finite[-1][0]
    bottom, top = min(y_ticks[0], *(y for _, y in thin)), max(y_ticks[-1], *(y for _, y in thin))

    def place(value: float, low: float, high: float, size: float) -> float:
        return round((value - low) / ((high - low) or 1.0) * size, 1)

    points = " ".join(f"{place(x, left, right, WIDTH)},{HEIGHT - place(y, bottom, top, HEIGHT)}" for x, y in thin)
    return Chart(
        title=title,
        unit=unit,
        across=across,
        points=points,
        x_ticks=tuple(Tick(place(value, left, right, WIDTH), number(value)) for value in x_ticks if left <= value <= right),
        y_ticks=tuple(Tick(round(HEIGHT - place(value, bottom, top, HEIGHT), 1), number(value)) for value in y_ticks),
        first=number(finite[0][1]),
        last=number(finite[-1][1]),
    )


def thinned(values: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points, averaged over neighbours to at most `MOST_POINTS`; the first and the last stay as they are."""
    if len(values) <= MOST_POINTS:
        return list(values)
    size = math.ceil(len(values) / (MOST_POINTS - 2))
    groups = [values[start : start + size] for start in range(1, len(values) - 1, size)]
    middle = [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
    return [values[0], *middle, values[-1]]


def ticks(values: Sequence[float]) -> list[float]:
    """Round numbers for the ticks of an axis, four to seven of them, that span `values`."""
    low, high = min(values), max(values)
    span = (high - low) or abs(high)
    span = span if span > LEAST_SPAN else 1.0
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def number(value: float) -> str:
    """A number as short text, without digits that mean nothing: 12,300 · 1.25 · 2e-05."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2e}".replace("e-0", "e-") if abs(value) < 0.001 else f"{value:.4g}"
