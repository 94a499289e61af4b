"""Formatting of times, money, counts and sizes for people."""

from datetime import UTC, datetime

from llmlab.lifecycle.billing import CENT, dollars

__all__ = ["CENT", "count", "dollars", "duration", "hours", "moment", "size"]

MINUTE = 60
HOUR = 60


def duration(seconds: float | None) -> str:
    """Format a duration as `45s`, `12m`, `3h05m`, `2d4h`; "" for None."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < MINUTE:
        return f"{whole}s"
    minutes = round(whole / 60)
    if minutes < HOUR:
        return f"{minutes}m"
    if minutes < 24 * HOUR:
        return f"{minutes // 60}h{minutes % 60:02d}m"
    hours = round(minutes / 60)
    return f"{hours // 24}d{hours % 24}h"


def count(number: float | None) -> str:
    """Format a count as `812`, `4.1 k`, `1.2 M`, `7.6 B`; "" for None."""
    if number is None:
        return ""
    for size, unit in ((1e9, " B"), (1e6, " M"), (1e4, " k")):
        if number >= size:
            return f"{number / (1e3 if unit == ' k' else size):.3g}{unit}"
    return f"{number:,.0f}"


def size(number: float) -> str:
    """Format bytes in the largest unit of at least one: `812 B`, `4.1 KB`, `16 GB`."""
    unit, *larger = "B", "KB", "MB", "GB", "TB"
    while number >= 1000 and larger:
        number, unit = number / 1000, larger.pop(0)
    return f"{number:,.1f} {unit}" if unit != "B" and number < 10 else f"{number:,.0f} {unit}"


def hours(number: float) -> str:
    """Format hours as `1 hour`, `2.5 hours`."""
    return f"{number:g} hour{'' if number == 1 else 's'}"


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
