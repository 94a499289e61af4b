"""The account in memory answers as the sandbox's own AWS does."""

from functools import partial

import pytest

from tests.simulation import many, scenario
from tests.simulation.beside import Beside, Seen
from tests.simulation.world import Parts, World

SEEDS = (0, 2, 5, 7)


@pytest.mark.slow
def test_every_answer_is_the_sandboxes_too() -> None:
    """Costs some ten seconds: moto answers each of thousands of calls as well."""
    seen = Seen()
    for seed in SEEDS:
        world = World(scenario.made(seed), Parts(), partial(Beside, seen=seen))
        try:
            world.play()
            world.cloud.messages()
        finally:
            world.cloud.close()
    assert seen.differences == []
    assert seen.calls.total() > 2000, seen.calls
    wanted = {"s3:put_object", "s3:get_object", "s3:list_objects_v2", "ec2:create_fleet", "ec2:describe_instances", "sns:publish",
              "scheduler:create_schedule", "scheduler:update_schedule", "scheduler:delete_schedule"}  # fmt: skip
    assert wanted <= set(seen.calls)
    assert {"NoSuchKey", "PreconditionFailed", "ResourceNotFoundException"} <= set(seen.errors)


@pytest.mark.slow
def test_a_schedule_is_the_same_one_on_the_sandboxes_aws() -> None:
    """Costs seconds, as the one above."""
    ours, theirs = many.make(4, Parts()), many.make_on_sandbox(4, Parts())
    try:
        lines = theirs.play().lines
        assert ours.play().lines == lines
        assert len(lines) > 20
    finally:
        theirs.cloud.close()
