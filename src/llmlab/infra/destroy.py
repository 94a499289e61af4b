"""Delete a list of resources in reverse dependency order, in parallel where nothing depends on the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from llmlab.infra.order import in_order
from llmlab.infra.resource import Missing, Resource

TRIES = 5
"""Attempts to delete a resource whose parts were missing already: deleted by a lost call, or by somebody else meanwhile."""


class DeletionResult(StrEnum):
    """The result of deleting one resource."""

    DELETED = "deleted"
    ABSENT = "absent"
    RETAINED = "retained"
    NOT_OURS = "not ours"


@dataclass(frozen=True)
class Removal:
    """One resource and the result of deleting it."""

    resource: Resource
    fate: DeletionResult


def destroy(
    resources: Sequence[Resource], *, everything: bool = False, progress: Callable[[Removal], None] = lambda _: None
) -> tuple[Removal, ...]:
    """Delete the lab's resources; with `everything` also those that hold results. Shared ones and other owners' resources stay."""

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
