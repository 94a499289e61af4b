"""Compare the existing resources with the desired ones. A plan only reads; bootstrap applies it, drift and `--plan` print it."""

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
    """One owned property that is not as desired. `now` is None where the property does not exist."""

    property: str
    now: Any
    wanted: Any


@dataclass(frozen=True)
class Step:
    """The action planned for one resource, with the properties that differ."""

    resource: Resource
    action: Action
    differences: tuple[Difference, ...] = ()

    @property
    def differs(self) -> Properties:
        return {difference.property: difference.wanted for difference in self.differences}


@dataclass(frozen=True)
class Plan:
    """One step for each declared resource, in the order of the list; `removals` for unwanted resources that still exist."""

    steps: tuple[Step, ...]
    removals: tuple[Step, ...] = ()

    @property
    def changes(self) -> tuple[Step, ...]:
        return (*(step for step in self.steps if step.action is not Action.KEEP), *self.removals)

    @property
    def empty(self) -> bool:
        return not self.changes


class NotOwned(Refused):
    """A resource of this name exists without the lab's tags."""


def plan(resources: Sequence[Resource], progress: Callable[[Step], None] = lambda _: None, *, unwanted: Sequence[Resource] = ()) -> Plan:
    """Read all resources in parallel and plan their changes. Resources in `unwanted` that exist and are the lab's are planned for deletion.

    Raises:
        NotOwned: a resource of this name exists without the lab's tags and would need changes.
    """

    def look(resource: Resource) -> Step:
        step = step_for(resource)
        progress(step)
        return step

    steps = tuple(in_order(resources, look).values())
    return Plan(steps, tuple(step for step in in_order(unwanted, removal_for).values() if step is not None))


def removal_for(resource: Resource) -> Step | None:
    """The step that deletes an unwanted resource; None when it does not exist, or is not the lab's."""
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
