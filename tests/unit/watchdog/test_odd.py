"""Whatever a tag or a document of one run holds, the watchdog sees to the others."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from llmlab import contract
from llmlab.contract import Attempt, AttemptEnd, ContractError, EndReason, Manifest, Marker, Notice, RunKeys, Spec
from llmlab.lifecycle import instances
from llmlab.lifecycle.instances import LONGEST_HOURS, Instance
from llmlab.lifecycle.run_documents import Records
from llmlab.watchdog import followup, termination
from llmlab.watchdog.policy import decide
from llmlab.watchdog.run_snapshot import RunSnapshot
from tests.unit.watchdog.lab import KEYS, RUN, Lab, ended

OTHER = "20261123-130000-zz99"
NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
NUMBERS = ["\u00b2", "\u0663", "99999999999999999999", "253402300800", "-5", "0x10", "1e9", " 7", "7\n", ""]


# ---------------------------------------------------------------- tags


@given(
    st.sampled_from(["Deadline", "Attempt", "Run", "KeepUntilDeadline", "Odd"]), st.one_of(st.sampled_from(NUMBERS), st.text()), st.text()
)
def test_an_instance_is_read_whatever_its_tags_say(key: str, value: str, reason: str) -> None:
    described = {
        "InstanceId": "i-1", "State": {"Name": "running"}, "LaunchTime": NOW, "StateTransitionReason": f"({reason} GMT)",
        "Tags": [{"Key": key, "Value": value}],
    }  # fmt: skip
    machine = instances.parse(described)
    assert 0 <= machine.attempt < 10**12
    assert machine.deadline(6) <= NOW.timestamp() + LONGEST_HOURS * 3600
    assert datetime.fromtimestamp(machine.deadline(6), UTC)


@pytest.mark.parametrize("key", ["Deadline", "Attempt", "Run"])
def test_an_odd_tag_of_one_instance_keeps_nobody_from_the_others(lab: Lab, key: str) -> None:
    odd, other = lab.launch(), lab.launch(run=OTHER)
    for value in [*NUMBERS, "../../x", OTHER]:
        lab.tag(odd, **{key: value})
        decisions = lab.wake({"sweep": True})
        assert decisions[-1] == "swept"
        assert "failed" not in decisions
        lab.tag(odd, Deadline=str(odd.deadline), Attempt="1", Run=RUN)
    lab.kill(other)
    assert "resumed" in lab.wake({"sweep": True})
    assert lab.read(Attempt, RunKeys(OTHER).attempt(2)).instance


def test_no_tag_lets_an_instance_live_beyond_what_its_claim_says(lab: Lab) -> None:
    attempt = lab.launch()
    lab.tag(attempt, Deadline=str(attempt.deadline + 3600))
    lab.clock.sleep(6 * 3600 + 1)
    assert "terminated" in lab.wake({"sweep": True})
    assert lab.end(1).reason is EndReason.TIMED_OUT


def test_the_claim_holds_also_where_the_run_cannot_be_read(lab: Lab) -> None:
    attempt = lab.launch()
    lab.tag(attempt, Deadline=str(attempt.deadline + 3600))
    lab.put(KEYS.failure, b"[")
    lab.clock.sleep(6 * 3600 + 1)
    with pytest.raises(ContractError, match="FAILURE is not a marker"):
        lab.wake({"sweep": True})
    assert not lab.live()


# ---------------------------------------------------------------- documents

POISON = {
    "no JSON": b"[[[[", "another shape": b"[]", "another document": b'{"run": "x"}', "nothing": b"", "no text": b"\xff\xfe",
    "a wrong time": b'{"run": "x", "reason": "completed", "ended": "2026-99-99T99:99:99Z", "attempts": 1, "number": 1, "at": "never"}',
    "too large": b" " * (contract.DOCUMENT_BYTES + 1),
    "a number without an end": b'{"run": "x", "reason": "completed", "ended": "2026-11-23T12:00:00Z", "attempts": ' + b"9" * 5000 + b"}",
}  # fmt: skip


@pytest.mark.parametrize("key", [KEYS.success, KEYS.failure, KEYS.attempt_end(1), KEYS.attempt(1), KEYS.stop, KEYS.notified(1, Notice.END)])
def test_an_odd_document_of_one_run_keeps_nobody_from_the_others(lab: Lab, key: str) -> None:
    lab.launch()
    lab.kill(lab.launch(run=OTHER))
    for body in POISON.values():
        lab.put(key, body)
        try:
            lab.wake({"sweep": True})
        except ContractError:
            assert ("failed", RUN) in {(decision, facts.get("run")) for decision, facts in lab.logged}
        assert lab.logged[-1][0] == "swept"
    assert lab.read(Attempt, RunKeys(OTHER).attempt(2)).instance


def test_an_unreadable_run_is_no_failure_of_the_function_once_nothing_of_it_lives(lab: Lab) -> None:
    """Or the alarm on the function's errors would never end."""
    attempt = lab.launch()
    lab.put(KEYS.failure, b"[")
    with pytest.raises(ContractError):
        lab.wake({"sweep": True})
    lab.kill(attempt)
    assert lab.wake({"sweep": True}) == ["unreadable", "swept"]


def test_the_deadline_ends_the_instance_of_a_run_that_cannot_be_read(lab: Lab) -> None:
    lab.launch()
    lab.put(KEYS.failure, b"[")
    lab.wake({"deadline": {"run": RUN, "attempt": 2}})
    assert lab.live()
    assert "terminated" in lab.wake({"deadline": {"run": RUN, "attempt": 1}})
    assert not lab.live()


def test_no_end_gives_a_run_more_hours_than_it_had(lab: Lab) -> None:
    """A machine writes the end of its attempt: hours or dollars below nothing would be hours and dollars for the next one."""
    lab.kill(lab.launch())
    for words in ({"hours": -100.0}, {"cost": -100.0}, {"costs": {"instance": -100.0}}):
        lab.put(KEYS.attempt_end(1), json.dumps({**json.loads(contract.dump(_end())), **words}).encode())
        assert lab.wake({"sweep": True}) == ["unreadable", "swept"]
    ended(lab, 1, EndReason.SPOT_INTERRUPTED)
    assert "resumed" in lab.wake({"sweep": True})


def _end() -> AttemptEnd:
    return AttemptEnd(RUN, 1, EndReason.SPOT_INTERRUPTED, contract.build_timestamp(NOW))


SPEC = Spec(RUN, "l", "r", "a", {}, Manifest("d", (), ""), "i", "ami", "t", (), spot=True, max_hours=6, created="")
WHOLE: dict[type[Any], Any] = {
    Attempt: Attempt(RUN, 1, "2026-11-23T12:00:00Z", 1795532400, spot=True, by="launch", max_hours=6, max_cost=5.0, instance="i-1",
                     launched="2026-11-23T12:00:10Z"),
    AttemptEnd: _end(),
    Marker: Marker(RUN, EndReason.COMPLETED, "2026-11-23T12:00:00Z", 1),
}  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(list(WHOLE)), st.data())
def test_what_is_read_can_be_judged(kind: type[Any], data: st.DataObject) -> None:
    """A document in which one field is any value at all is refused, or does not break what is done with it."""
    value = json.loads(contract.dump(WHOLE[kind]))
    value[data.draw(st.sampled_from(sorted(value)))] = data.draw(json_values)
    try:
        documents = {**WHOLE, kind: contract.load(kind, json.dumps(value))}
    except ContractError:
        return
    claim, end, marker = documents[Attempt], documents[AttemptEnd], documents[Marker]
    for ends, last in (({}, None), ({1: end}, None), ({1: end}, marker)):
        for state in ("running", "terminated"):
            machine = Instance("i-1", "g6.xlarge", "us-east-1a", state, NOW, spot=True, tags={"Attempt": "1", "Run": RUN})
            sight = RunSnapshot(Records(SPEC, (claim,), ends, last), (machine,), NOW)
            decide(sight, 0, {})
            termination.must_end(sight, machine, 6)
            followup.next_look(sight, NOW, 6)
