"""`--since`: how long ago."""

from datetime import UTC, datetime, timedelta

import pytest

from llmlab.errors import UsageError
from llmlab.ops.logs import parse_since

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ago"),
    [("30s", timedelta(seconds=30)), ("10m", timedelta(minutes=10)), (" 2 h ", timedelta(hours=2)), ("1d", timedelta(days=1)),
     ("90m", timedelta(hours=1.5)), ("0s", timedelta())],
)  # fmt: skip
def test_each_unit_is_what_it_is(text: str, ago: timedelta) -> None:
    assert parse_since(text, NOW) == NOW - ago


@pytest.mark.parametrize("text", ["", "10", "m", "-1m", "1.5h", "10 minutes", "1w", "٣d", "999999999d", "99999999999999999999s"])
def test_anything_else_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="--since takes a number") as refusal:
        parse_since(text, NOW)
    assert refusal.value.hint == "llmlab logs --since 10m"
