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
        return {one.property: one.wanted for one in self.differences}


@dataclass(frozen=True)
class Plan:
    """A step for each resource, in the order of the list."""

    steps: tuple[Step, ...]

    @property
    def changes(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.action is not Action.KEEP)

    @property
    def empty(self) -> bool:
        return not self.changes


class Stranger(Refused):
    """The name is taken by something that is not ours."""


def plan(resources: Sequence[Resource], progress: Callable[[Step], None] = lambda _: None) -> Plan:
    """Read everything, in parallel.

    Raises:
        Stranger: a resource with our name is not ours, and would have to be changed.
    """

    def look(resource: Resource) -> Step:
        step = step_for(resource)
        progress(step)
        return step

    return Plan(tuple(in_order(resources, look).values()))


def step_for(resource: Resource) -> Step:
    wanted = resource.desired()
    now = resource.read()
    if now is None:
        return Step(resource, Action.CREATE, tuple(Difference(name, None, value) for name, value in wanted.items()))
    differences = tuple(Difference(name, now.get(name), value) for name, value in wanted.items() if now.get(name) != value)
    if not differences:
        return Step(resource, Action.KEEP)
    if not resource.ours():
        raise Stranger(f"{resource.key} exists and does not belong to this lab", resource.way_out())
    return Step(resource, Action.UPDATE, differences)
