"""Apply a plan in parallel: create and update resources first, delete the unwanted ones last.

A crash anywhere is repaired by planning and applying again.
"""

from collections.abc import Callable

from llmlab.errors import LabError
from llmlab.infra.destroy import destroy
from llmlab.infra.order import in_order
from llmlab.infra.plan import Action, Plan, Step, step_for
from llmlab.infra.resource import Exists, Properties, Resource


def apply(plan: Plan, progress: Callable[[Step], None] = lambda _: None) -> None:
    """Create, update and delete the plan's resources. `progress` is called after each step that changed something, from any thread."""
    steps = {step.resource.key: step for step in plan.steps}

    def work(resource: Resource) -> None:
        step = steps[resource.key]
        if step.action is Action.CREATE:
            _create(resource)
        elif step.action is Action.UPDATE:
            _update(resource, step.differs)
        else:
            return
        progress(step)

    in_order([step.resource for step in plan.steps], work)
    removals = {step.resource.key: step for step in plan.removals}
    destroy([step.resource for step in plan.removals], everything=True, progress=lambda removal: progress(removals[removal.resource.key]))


def _create(resource: Resource) -> None:
    """Create the minimal resource, then update the properties that still differ: the same path that repairs a crash in between."""
    try:
        resource.create()
    except Exists:
        step = step_for(resource)  # created by somebody else since the plan: plan again, once
        if step.action is Action.CREATE:
            raise
        differs = step.differs
    else:
        now = resource.read() or {}
        differs = {name: value for name, value in resource.desired().items() if now.get(name) != value}
    if differs:
        _update(resource, differs)


def _update(resource: Resource, differs: Properties) -> None:
    """Set the differing properties. Those that are as desired after an error were set by a lost call, or by somebody else meanwhile.

    Raises:
        LabError: the update failed without setting anything, or the second try for the rest failed too.
    """
    for last in (False, True):
        try:
            resource.update(differs)
        except LabError:
            left = step_for(resource).differs
            if left and (last or left == differs):
                raise
            if not left:
                return
            differs = left
        else:
            return
