"""Take a list of resources away again: the list reversed, parallel where nothing depends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from llmlab.infra.order import in_order
from llmlab.infra.resource import Missing, Resource

TRIES = 5
"""How often a resource is deleted of which a part was gone already: by a try whose answer was lost, or by somebody who was quicker."""


class DeletionResult(StrEnum):
    """What became of a resource."""

    DELETED = "deleted"
    ABSENT = "absent"
    RETAINED = "retained"
    NOT_OURS = "not ours"


@dataclass(frozen=True)
class Removal:
    """One resource and its fate."""

    resource: Resource
    fate: DeletionResult


def destroy(
    resources: Sequence[Resource], *, everything: bool = False, progress: Callable[[Removal], None] = lambda _: None
) -> tuple[Removal, ...]:
    """Delete what is ours; with `everything` also what holds results. Shared ones and strangers stay."""

    def remove(resource: Resource) -> Removal:
        removal = Removal(resource, _remove(resource, everything=everything))
        progress(removal)
        return removal

    return tuple(in_order(resources, remove, reverse=True).values())


def _remove(resource: Resource, *, everything: bool) -> DeletionResult:
    if resource.shared or (resource.retained and not everything):
        return DeletionResult.RETAINED
    if not resource.exists():
        return DeletionResult.ABSENT
    for last in range(TRIES - 1, -1, -1):
        try:
            if not resource.ours():
                return DeletionResult.NOT_OURS
            resource.delete()
        except Missing:
            if not resource.exists():
                return DeletionResult.ABSENT
            if not last:
                raise
        else:
            break
    return DeletionResult.DELETED
