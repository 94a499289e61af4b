"""Every class of resources is in the list of `stack.py`, and answers what is asked of a class: its leftovers, its cost, its operator."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

from llmlab import aws, stack
from llmlab.aws import leftovers
from llmlab.aws.existing_network import ExistingNetwork
from llmlab.aws.function_permission import FunctionPermission
from llmlab.aws.owned import AwsResource, to_list
from llmlab.aws.sns_topic import Subscription
from llmlab.aws.spot_role import SpotRole
from tests.laws.conftest import Lab

ASKED = ("find_leftovers", "idle_cost", "operator_statements")
NOTHING_OF_ITS_OWN = {
    ExistingNetwork: "the user's",
    SpotRole: "the account's",
    FunctionPermission: "a part of the function",
    Subscription: "a part of the topic",
}
"""A class of which nothing is ever left → why."""


def classes(of: type[AwsResource] = AwsResource) -> Iterator[type[AwsResource]]:
    """Every class that is no base of another one, of all modules of `llmlab.aws`."""
    below = of.__subclasses__()
    for one in below:
        yield from classes(one)
    if not below and of.__module__.startswith(aws.__name__):
        yield of


def test_every_class_is_in_a_list_of_the_stack() -> None:
    for module in pkgutil.iter_modules(aws.__path__, f"{aws.__name__}."):
        importlib.import_module(module.name)
    found = list(classes())
    assert len(found) >= 28
    listed = (*stack.RESOURCES, *stack.RETIRED)
    missing = [f"{one.__name__} of {one.__module__}" for one in found if not issubclass(one, listed)]
    assert not missing, f"add to RESOURCES in stack.py: {', '.join(missing)}"


def test_every_class_answers_what_is_asked_of_a_class() -> None:
    listed = (*stack.RESOURCES, *stack.RETIRED)
    lacking = [f"{one.__name__} lacks {name}" for one in listed for name in ASKED if name in one.__abstractmethods__]
    assert not lacking, ", ".join(lacking)


def test_what_a_lab_has_is_of_a_class_in_the_list(either: tuple[Lab, int]) -> None:
    lab, _ = either
    others = [resource.key for resource in lab.stack() if not isinstance(resource, stack.RESOURCES)]
    assert not others, f"add to RESOURCES in stack.py the class of: {', '.join(others)}"


def test_of_every_class_something_is_found_while_it_is_there(lab: Lab) -> None:
    assert [one.__name__ for one in stack.RESOURCES if list(one.find_leftovers(lab.aws))] == []
    lab.apply()
    blind = {one for one in stack.RESOURCES if not list(one.find_leftovers(lab.aws))}
    assert blind == set(NOTHING_OF_ITS_OWN), ", ".join(f"{one.__name__}.find_leftovers" for one in blind ^ set(NOTHING_OF_ITS_OWN))


def test_what_runs_make_is_found_whichever_classes_are_passed(lab: Lab) -> None:
    tags: Any = [{"ResourceType": "volume", "Tags": to_list(lab.aws.names.tags)}]
    volume = lab.aws.ec2.create_volume(Size=8, AvailabilityZone="us-east-1a", TagSpecifications=tags)["VolumeId"]
    for classes_passed in ((), stack.RESOURCES):
        assert [(left.kind, left.id) for left in leftovers.find(lab.aws, classes_passed)] == [("volume", volume)]
