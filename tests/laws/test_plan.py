"""Plan only reads; apply, then plan is empty; the second bootstrap writes nothing; a crash at any call is repaired by running again."""

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from llmlab.infra.plan import Action
from llmlab.stack import RETIRED
from tests.laws.conftest import READING, Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmlab.aws.session import Aws


def test_plan_only_reads(either: tuple[Lab, int]) -> None:
    lab, count = either
    steps = lab.plan().steps
    assert len(steps) == count
    assert lab.calls
    assert lab.writes() == []


def test_apply_then_plan_is_empty_and_the_second_bootstrap_writes_nothing(either: tuple[Lab, int]) -> None:
    lab, count = either
    lab.apply()
    lab.calls.clear()
    lab.apply()
    planned = lab.plan()
    assert [step.resource.key for step in planned.changes] == []
    assert len(planned.steps) == count
    assert lab.writes() == []


def test_second_bootstrap_reads_at_most_twice_a_resource(lab: Lab) -> None:
    """Two for each thing that a lab has, or may have had."""
    from llmlab.ops import bootstrap

    lab.apply()
    count = lab.count()
    del lab.aws.__dict__["account"], lab.aws.__dict__["names"]  # as a new process, which asks for the account again
    lab.calls.clear()
    with requests(lab.aws) as asked:
        planned = bootstrap.make_plan(lab.settings, lab.aws, lab.clock)
        made = bootstrap.apply(planned, lab.settings, lab.aws, lab.clock)
    assert (made.created, made.updated, made.kept) == (0, 0, count)
    assert lab.writes() == []
    assert 0 < len(lab.calls) <= 2 * (count + len(RETIRED))
    assert sum(asked.values()) == len(lab.calls)
    twice = {request for request, times in asked.items() if times > 1}
    assert {operation for operation, *_ in twice} == {"sns:ListSubscriptionsByTopic"}, "for the plan, and whether the address is confirmed"
    assert max(asked.values()) == 2


@contextmanager
def requests(aws: "Aws") -> "Iterator[Counter[tuple[str, ...]]]":
    """Each request of the clients that there are, as it goes out: how often the very same one does."""
    counted: Counter[tuple[str, ...]] = Counter()

    def note(model: Any, params: Any, **_: Any) -> None:
        counted[f"{model.service_model.service_name}:{model.name}", params["url"], str(params["body"])] += 1

    clients = list(aws._clients.values())
    for client in clients:
        client.meta.events.register("before-call", note)
    try:
        yield counted
    finally:
        for client in clients:
            client.meta.events.unregister("before-call", note)


@pytest.mark.slow  # makes half of each resource
def test_all_half_created_is_repaired(lab: Lab) -> None:
    """`create` alone, for every resource, as a crash right after each would leave them."""
    resources = lab.stack()
    for resource in resources:
        resource.create()
    planned = lab.plan()
    assert len(planned.steps) == lab.count()
    assert [step.resource.key for step in planned.steps if step.action is Action.CREATE] == []
    assert len(planned.changes) > lab.count() // 2
    lab.apply()
    assert lab.plan().empty


class Crash(Exception):
    """The process dies."""


@pytest.mark.slow  # it is fifty bootstraps
def test_dying_at_every_few_calls_gets_there(lab: Lab) -> None:
    """Each run dies before its third writing call; enough runs make the whole lab."""
    left = [0]

    def die(model: Any, **_: object) -> None:
        if not model.name.startswith(READING):
            if left[0] == 0:
                raise Crash(model.name)
            left[0] -= 1

    crashes = 0
    register, unregister = _events(lab)
    register(die)
    try:
        while crashes < 150:
            left[0] = 2
            try:
                lab.apply()
                break
            except Crash:
                crashes += 1
    finally:
        unregister(die)
    assert crashes > 20
    planned = lab.plan()
    assert planned.empty
    assert len(planned.steps) == lab.count()


def _events(lab: Lab) -> tuple["Callable[[Any], None]", "Callable[[Any], None]"]:
    """Hooks on every client that is there."""
    clients = list(lab.aws._clients.values())
    assert len(clients) > 5

    def register(hook: Any) -> None:
        for client in clients:
            client.meta.events.register("before-call", hook)

    def unregister(hook: Any) -> None:
        for client in clients:
            client.meta.events.unregister("before-call", hook)

    return register, unregister


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_buckets_are_made_where_they_should_be(lab: Lab, region: str) -> None:
    from llmlab.aws.buckets import DataBucket, OutputsBucket
    from llmlab.aws.session import Aws

    aws = lab.aws if region == lab.aws.region else Aws(region, lab=lab.aws.lab)
    for bucket in (DataBucket(aws=aws), OutputsBucket(aws=aws)):
        bucket.create()
        assert bucket.ours()
        assert bucket.name.endswith(f"-123456789012-{region}")
        location = aws.s3.get_bucket_location(Bucket=bucket.name)["LocationConstraint"]
        assert (location or "us-east-1") == region
