"""What is, against what should be. A plan only reads; bootstrap applies it, drift and `--plan` print it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from llmlab.errors import Refused
from llmlab.infra.order import in_order
from llmlab.infra.resource import Properties, Resource


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    KEEP = "keep"
    DELETE = "delete"


@dataclass(frozen=True)
class Difference:
    """One owned property that is not as desired. `now` is None for what does not exist."""

    property: str
    now: Any
    wanted: Any


@dataclass(frozen=True)
class Step:
    """What is to be done to one resource."""

    resource: Resource
    action: Action
    differences: tuple[Difference, ...] = ()

    @property
    def differs(self) -> Properties:
        return {difference.property: difference.wanted for difference in self.differences}


@dataclass(frozen=True)
class Plan:
    """A step for each resource, in the order of the list; and for each that is not wanted any more, and there."""

    steps: tuple[Step, ...]
    removals: tuple[Step, ...] = ()

    @property
    def changes(self) -> tuple[Step, ...]:
        return (*(step for step in self.steps if step.action is not Action.KEEP), *self.removals)

    @property
    def empty(self) -> bool:
        return not self.changes


class NotOwned(Refused):
    """The name is taken by something that is not ours."""


def plan(resources: Sequence[Resource], progress: Callable[[Step], None] = lambda _: None, *, unwanted: Sequence[Resource] = ()) -> Plan:
    """Read everything, in parallel. What is `unwanted` and ours goes, should it be there.

    Raises:
        NotOwned: a resource with our name is not ours, and would have to be changed.
    """

    def look(resource: Resource) -> Step:
        step = step_for(resource)
        progress(step)
        return step

    steps = tuple(in_order(resources, look).values())
    return Plan(steps, tuple(step for step in in_order(unwanted, removal_for).values() if step is not None))


def removal_for(resource: Resource) -> Step | None:
    """What of an unwanted resource goes; None when it is not there, or not ours."""
    now = resource.read()
    if now is None or not resource.ours():
        return None
    left = resource.desired()
    return Step(resource, Action.DELETE, tuple(Difference(name, value, left.get(name)) for name, value in now.items() if name in left))


def step_for(resource: Resource) -> Step:
    wanted = resource.desired()
    now = resource.read()
    if now is None:
        return Step(resource, Action.CREATE, tuple(Difference(name, None, value) for name, value in wanted.items()))
    differences = tuple(Difference(name, now.get(name), value) for name, value in wanted.items() if now.get(name) != value)
    if not differences:
        return Step(resource, Action.KEEP)
    if not resource.ours():
        raise NotOwned(f"{resource.key} exists and does not belong to this lab", resource.way_out())
    return Step(resource, Action.UPDATE, differences)
