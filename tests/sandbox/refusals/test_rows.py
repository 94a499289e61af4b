"""Every row is met: each has a provocation, which is answered with its code and its sentence, and only while the row holds."""

import re
import string
from collections.abc import Iterator

import pytest

from llmlab.aws.session import Aws
from llmlab.clock import ManualClock, SystemClock
from llmlab.sandbox.completion_delays import DELAY
from llmlab.sandbox.completion_lambda import RUNTIME
from llmlab.sandbox.refusals.rule import On
from llmlab.sandbox.refusals.switch import SWITCH, switched
from llmlab.sandbox.refusals.table import BY_NAME, ROWS
from tests.sandbox.refusals import provoke_account, provoke_ec2, provoke_network, provoke_s3, provoke_services  # noqa: F401 - they register themselves
from tests.sandbox.refusals.provocations import PROVOCATIONS, answer

LEAST = 60


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    """The account's."""
    manual = ManualClock(SystemClock().now().replace(microsecond=0))
    before, RUNTIME.clock = RUNTIME.clock, manual
    yield manual
    RUNTIME.clock, DELAY.seconds = before, 0


def sentence(message: str) -> str:
    """A pattern of a row's sentence: whatever stands in the fields."""
    return "".join(re.escape(text) + (".*" if field is not None else "") for text, field, *_ in string.Formatter().parse(message))


@pytest.mark.parametrize("name", BY_NAME)
def test_a_row_is_met_in_awss_words(lab_aws: Aws, clock: ManualClock, name: str) -> None:
    row = BY_NAME[name]
    with switched(*([] if row.on is On.ALWAYS else [name])):
        code, message = answer(name, lab_aws, clock)
    assert code == row.code
    if row.code:
        assert re.fullmatch(sentence(row.message.rstrip(".")), message.rstrip("."))


def test_every_row_is_provoked_and_says_where_it_stands() -> None:
    assert set(PROVOCATIONS) == set(BY_NAME)
    assert len(BY_NAME) == len(ROWS) >= LEAST
    for row in ROWS:
        assert re.fullmatch(r"https://\S+", row.source), row.name
        assert all(re.fullmatch(r"([a-z0-9-]+|\*):(\w+|\*)", operation) for operation in row.operations), row.name
        assert row.when, row.name
        assert row.message, row.name


def test_a_rule_or_mode_that_is_in_no_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="there is no rule nonsense"):
        SWITCH.turn_on(["nonsense"])
    with pytest.raises(ValueError, match="there is no mode old-account"):
        SWITCH.turn_on([], ["old-account"])
