"""What a source with one more resource knows of it, as JSON: `python -m tests.laws.new_resource`, run by `test_new_resource.py`.

A lab is planned, made, spoiled, repaired and torn down on moto in this process.
"""

import ast
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.conftest import FAKE, REGION, UNSET

KIND = "contact parameter"
LACKED = ("find_leftovers", "idle_cost", "operator_statements")


def main() -> dict[str, Any]:
    for name in UNSET:
        os.environ.pop(name, None)
    os.environ.update(FAKE)
    from llmlab.sandbox.completion import complete

    complete()  # before the first client, so that it is born mocked
    from moto import mock_aws

    from llmlab.aws.session import Aws
    from llmlab.contract import PROJECT

    with mock_aws(config={"core": {"mock_credentials": False, "reset_boto3_session": False}}):
        aws = Aws(REGION, lab=PROJECT)
        return {**life(aws), **laws(), "lacking": {name: lacking(aws, name) for name in LACKED}}


def life(aws: Any) -> dict[str, Any]:
    """From the first plan to the teardown, as the commands do it."""
    from llmlab import stack
    from llmlab.aws import idle_cost, leftovers, policies_operator
    from llmlab.clock import ManualClock
    from llmlab.config import Settings
    from llmlab.infra.plan import step_for
    from llmlab.ops import bootstrap
    from llmlab.ops.teardown import inventory, teardown
    from tests.laws.spoilers import spoiler

    settings, clock = Settings(email="me@example.org"), ManualClock(datetime(2026, 11, 24, tzinfo=UTC))
    documents = policies_operator.documents(aws.names, stack.RESOURCES)
    planned = bootstrap.make_plan(settings, aws, clock)
    bootstrap.apply(planned, settings, aws, clock)
    (resource,) = [one for one in stack.build(settings, aws, clock) if one.kind == KIND]
    hand = spoiler(resource, "address")
    assert hand
    hand(resource)
    spoiled = step_for(resource)
    resource.update(spoiled.differs)
    repaired = step_for(resource)
    costs = idle_cost.read(aws, stack.RESOURCES, clock.now())
    before = [left.id for left in inventory(aws) if left.kind == KIND]
    removed = teardown(settings, aws, clock, everything=True)
    return {
        "allowed": [one for document in documents.values() for one in document["Statement"] if "ssm:PutParameter" in one["Action"]],
        "documents": len(documents),
        "planned": [step.action.value for step in planned.steps if step.resource.kind == KIND],
        "spoiled": [one.property for one in spoiled.differences],
        "repaired": repaired.action.value,
        "left before": before,
        "costs": [one.monthly for one in costs.items if one.kind == KIND],
        "deleted": resource.key in removed.deleted,
        "left after": [left.id for left in leftovers.find(aws, stack.RESOURCES)],
    }


def laws() -> dict[str, Any]:
    """What the laws say of the class, in the list and not in it."""
    from llmlab import stack
    from tests.laws import test_classes

    listed = test_classes.test_every_class_is_in_a_list_of_the_stack
    answering = test_classes.test_every_class_answers_what_is_asked_of_a_class
    whole = said(listed) + said(answering)
    stack.RESOURCES = tuple(one for one in stack.RESOURCES if getattr(one, "kind", "") != KIND)
    return {"whole": whole, "unlisted": said(listed)}


def lacking(aws: Any, method: str) -> list[str]:
    """What is said where the class has no such method: when a resource of it is made, and by the law."""
    from llmlab import stack
    from llmlab.aws import contact_parameter
    from tests.laws import test_classes

    tree = ast.parse(Path(contact_parameter.__file__).read_text(encoding="utf-8"))
    (made,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    made.body = [node for node in made.body if getattr(node, "name", "") != method]
    module: dict[str, Any] = {"__name__": contact_parameter.__name__}
    exec(compile(tree, contact_parameter.__file__, "exec"), module)
    stack.RESOURCES = (module["ContactParameter"],)
    try:
        module["ContactParameter"](aws=aws, address="x")
        refused = ""
    except TypeError as error:
        refused = str(error)
    return [refused, said(test_classes.test_every_class_answers_what_is_asked_of_a_class)]


def said(law: Callable[[], None]) -> str:
    """A law's words, "" where it holds."""
    try:
        law()
    except AssertionError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    json.dump(main(), sys.stdout)
